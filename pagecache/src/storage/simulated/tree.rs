//! Files and directories of a simulated disk, each as it looks now and as the platter has it.
//!
//! The rules, stricter than any one file system: a file's content is durable up to its own sync and
//! nothing else syncs it; a directory's names are durable up to the directory's own sync. Of what is
//! not durable, each change alone may be kept or lost at a crash, whatever its order; a write may be
//! kept in part, at a byte or in any of its sectors; a file may have its new length and zeros.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use super::Rng;
use crate::storage::Entry;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

const ROOT: NodeId = NodeId(0);

/// Names a file or directory, also after its name is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NodeId(usize);

#[derive(Clone, Debug)]
pub(super) struct Tree {
    // Grows only: a removed file may still be open.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Clone, Debug, Default)]
struct FileNode {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<FileChange>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

type Names = BTreeMap<OsString, NodeId>;

#[derive(Clone, Debug, Default)]
struct DirNode {
    names: Names,
    durable: Names,
    unsynced: Vec<DirChange>,
}

#[derive(Clone, Debug)]
enum DirChange {
    Add(OsString, NodeId),
    Remove(OsString),
    /// A rename inside the directory: one step, as every journal makes it.
    Rename(OsString, OsString, NodeId),
}

/// How a crash treats what one file or directory has not synced.
#[derive(Clone, Copy)]
enum Fate {
    KeepAll,
    LoseAll,
    /// In order up to a point, as a journal does it.
    Prefix(usize),
    /// Each change on its own.
    Each,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            nodes: vec![Node::Dir(DirNode::default())],
        }
    }
}

impl Tree {
    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for name in path {
            node = *self.dir(node)?.names.get(name).ok_or_else(not_found)?;
        }
        Ok(node)
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        if self.is_dir(node) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(node)
    }

    pub(super) fn find_dir(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        self.dir(node)?;
        Ok(node)
    }

    pub(super) fn is_dir(&self, node: NodeId) -> bool {
        matches!(self.nodes[node.0], Node::Dir(_))
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let dir = self.dir(self.find(path)?)?;
        let entry = |(name, node): (&OsString, &NodeId)| Entry {
            name: name.clone(),
            is_dir: self.is_dir(*node),
            len: self.file_len(*node),
        };
        Ok(dir.names.iter().map(entry).collect())
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        let (parent, name) = self.split(path)?;
        if self.dir(parent)?.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = self.add_node(Node::File(FileNode::default()));
        self.dir_mut(parent)?
            .apply(DirChange::Add(name.to_owned(), node));
        Ok(node)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut parent = ROOT;
        for name in path {
            parent = match self.dir(parent)?.names.get(name) {
                Some(node) => *node,
                None => {
                    let node = self.add_node(Node::Dir(DirNode::default()));
                    self.dir_mut(parent)?
                        .apply(DirChange::Add(name.to_owned(), node));
                    node
                }
            };
        }
        self.dir(parent).map(|_| ())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (from_dir, from_name) = self.split(from)?;
        let (to_dir, to_name) = self.split(to)?;
        if self.is_dir(node) && to.starts_with(from) && to != from {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(target) = self.dir(to_dir)?.names.get(to_name) {
            if self.is_dir(*target) != self.is_dir(node) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if self.is_dir(*target) && !self.dir(*target)?.names.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        }
        let (from_name, to_name) = (from_name.to_owned(), to_name.to_owned());
        if from_dir == to_dir {
            self.dir_mut(to_dir)?
                .apply(DirChange::Rename(from_name, to_name, node));
        } else {
            self.dir_mut(to_dir)?.apply(DirChange::Add(to_name, node));
            self.dir_mut(from_dir)?.apply(DirChange::Remove(from_name));
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.find_file(path)?;
        let (parent, name) = self.split(path)?;
        self.dir_mut(parent)?
            .apply(DirChange::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find_dir(path)?;
        let (parent, name) = self.split(path)?;
        self.empty_dir(node)?;
        self.dir_mut(parent)?
            .apply(DirChange::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn file_len(&self, node: NodeId) -> u64 {
        match &self.nodes[node.0] {
            Node::File(file) => file.content.len() as u64,
            Node::Dir(_) => 0,
        }
    }

    pub(super) fn read(&self, node: NodeId, buf: &mut [u8], offset: u64) -> usize {
        let content = &self.file(node).content;
        let start = content.len().min(offset as usize);
        let length = buf.len().min(content.len() - start);
        buf[..length].copy_from_slice(&content[start..start + length]);
        length
    }

    pub(super) fn write(&mut self, node: NodeId, bytes: &[u8], offset: u64) {
        self.file_mut(node).apply(FileChange::Write {
            offset: offset as usize,
            bytes: bytes.to_vec(),
        });
    }

    pub(super) fn set_len(&mut self, node: NodeId, len: u64) {
        self.file_mut(node).apply(FileChange::SetLen(len as usize));
    }

    /// Makes a file's content or a directory's names durable.
    pub(super) fn sync(&mut self, node: NodeId) {
        match &mut self.nodes[node.0] {
            Node::File(file) => {
                for change in file.unsynced.drain(..) {
                    change.apply(&mut file.durable);
                }
            }
            Node::Dir(dir) => {
                dir.unsynced.clear();
                dir.durable.clone_from(&dir.names);
            }
        }
    }

    /// A sync failed: what it was for stays visible and never becomes durable.
    pub(super) fn lose_unsynced(&mut self, node: NodeId) {
        match &mut self.nodes[node.0] {
            Node::File(file) => file.unsynced.clear(),
            Node::Dir(dir) => dir.unsynced.clear(),
        }
    }

    pub(super) fn flip_bit(&mut self, node: NodeId, byte: u64, bit: u8) -> io::Result<()> {
        let file = self.file_mut(node);
        let byte = byte as usize;
        if byte >= file.content.len() || bit > 7 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file.content[byte] ^= 1 << bit;
        if let Some(durable) = file.durable.get_mut(byte) {
            *durable ^= 1 << bit;
        }
        Ok(())
    }

    /// Bytes in files that have a name.
    pub(super) fn used(&self) -> u64 {
        let mut open = vec![ROOT];
        let mut used = 0;
        while let Some(node) = open.pop() {
            match &self.nodes[node.0] {
                Node::File(file) => used += file.content.len() as u64,
                Node::Dir(dir) => open.extend(dir.names.values()),
            }
        }
        used
    }

    /// The tree after the power went.
    pub(super) fn crash(&self, rng: &mut Rng) -> Tree {
        let crash = |node: &Node| match node {
            Node::File(file) => Node::File(file.crash(rng)),
            Node::Dir(dir) => Node::Dir(dir.crash(rng)),
        };
        Tree {
            nodes: self.nodes.iter().map(crash).collect(),
        }
    }

    fn empty_dir(&mut self, node: NodeId) -> io::Result<()> {
        let names = self.dir(node)?.names.clone();
        for (name, child) in names {
            if self.is_dir(child) {
                self.empty_dir(child)?;
            }
            self.dir_mut(node)?.apply(DirChange::Remove(name));
        }
        Ok(())
    }

    /// The directory that holds the last component, and that component.
    fn split<'p>(&self, path: &'p Path) -> io::Result<(NodeId, &'p OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.dir(parent)?;
        Ok((parent, name))
    }

    fn add_node(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    fn dir(&self, node: NodeId) -> io::Result<&DirNode> {
        match &self.nodes[node.0] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, node: NodeId) -> io::Result<&mut DirNode> {
        match &mut self.nodes[node.0] {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// A node that a file handle names; handles are made for files only.
    fn file(&self, node: NodeId) -> &FileNode {
        match &self.nodes[node.0] {
            Node::File(file) => file,
            Node::Dir(_) => unreachable!("a file handle names a directory"),
        }
    }

    fn file_mut(&mut self, node: NodeId) -> &mut FileNode {
        match &mut self.nodes[node.0] {
            Node::File(file) => file,
            Node::Dir(_) => unreachable!("a file handle names a directory"),
        }
    }
}

impl FileNode {
    fn apply(&mut self, change: FileChange) {
        change.apply(&mut self.content);
        self.unsynced.push(change);
    }

    fn crash(&self, rng: &mut Rng) -> FileNode {
        let mut bytes = self.durable.clone();
        let fate = Fate::choose(self.unsynced.len(), rng);
        for (index, change) in self.unsynced.iter().enumerate() {
            match change {
                FileChange::Write { .. } if fate.tears(index) && rng.one_in(2) => {
                    change.apply_torn(&mut bytes, rng);
                }
                _ if fate.keeps(index, rng) => change.apply(&mut bytes),
                _ => {}
            }
        }
        // The new length may be on disk and the data not.
        if rng.one_in(3) && bytes.len() < self.content.len() {
            let len = rng.between(bytes.len() as u64, self.content.len() as u64);
            bytes.resize(len as usize, 0);
        }
        FileNode {
            content: bytes.clone(),
            durable: bytes,
            unsynced: Vec::new(),
        }
    }
}

impl FileChange {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            FileChange::Write { offset, bytes } => put(content, *offset, bytes),
            FileChange::SetLen(len) => content.resize(*len, 0),
        }
    }

    /// Applies a part of a write: up to a byte, or some of the sectors it touches.
    fn apply_torn(&self, content: &mut Vec<u8>, rng: &mut Rng) {
        let FileChange::Write { offset, bytes } = self else {
            return;
        };
        if rng.one_in(2) {
            let kept = rng.between(0, bytes.len() as u64) as usize;
            put(content, *offset, &bytes[..kept]);
            return;
        }
        let mut start = 0;
        while start < bytes.len() {
            let end = bytes.len().min(start + SECTOR - (offset + start) % SECTOR);
            if rng.one_in(2) {
                put(content, offset + start, &bytes[start..end]);
            }
            start = end;
        }
    }
}

impl DirNode {
    fn apply(&mut self, change: DirChange) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn crash(&self, rng: &mut Rng) -> DirNode {
        let mut names = self.durable.clone();
        let fate = Fate::choose(self.unsynced.len(), rng);
        for (index, change) in self.unsynced.iter().enumerate() {
            if fate.keeps(index, rng) {
                change.apply(&mut names);
            }
        }
        DirNode {
            names: names.clone(),
            durable: names,
            unsynced: Vec::new(),
        }
    }
}

impl DirChange {
    fn apply(&self, names: &mut Names) {
        match self {
            DirChange::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            DirChange::Remove(name) => {
                names.remove(name);
            }
            DirChange::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Fate {
    fn choose(changes: usize, rng: &mut Rng) -> Fate {
        match rng.below(4) {
            0 => Fate::KeepAll,
            1 => Fate::LoseAll,
            2 => Fate::Prefix(rng.between(0, changes as u64) as usize),
            _ => Fate::Each,
        }
    }

    fn keeps(self, index: usize, rng: &mut Rng) -> bool {
        match self {
            Fate::KeepAll => true,
            Fate::LoseAll => false,
            Fate::Prefix(kept) => index < kept,
            Fate::Each => rng.one_in(2),
        }
    }

    /// Whether a write may be kept in part: the first one lost of a prefix, and any on its own.
    fn tears(self, index: usize) -> bool {
        match self {
            Fate::KeepAll | Fate::LoseAll => false,
            Fate::Prefix(kept) => index == kept,
            Fate::Each => true,
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if bytes.is_empty() {
        return;
    }
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}
