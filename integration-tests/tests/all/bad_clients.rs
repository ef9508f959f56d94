//! The page stream of the real process: clients that speak nonsense harm nobody, requests for what has not arrived
//! wait, requests for what is out of reach are refused.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::{PATIENCE, Scene, random_seed};
use pageservice::client::{ClientError, ReadAt};
use stockpg::{InitOptions, Random};
use walrecord::Lsn;

use crate::faults::first_page_of;

/// Clients that send random bytes.
const RANDOM_CLIENTS: u64 = 40;

#[test]
fn nonsense_ends_its_own_connection_and_nothing_else() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let server = scene.daemon(crate::PROGRAM).start()?;
    let address = server.page_stream()?;
    let tag = first_page_of(&scene.primary, "pg_class")?;
    let mut good = server.client()?;
    let page = *good.page(ReadAt::LATEST, tag)?;

    let mut random = Random::new(random_seed());
    let mut clients: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        // Lengths that no startup has.
        vec![0xff; 8],
        vec![0; 64],
        [&8u32.to_be_bytes()[..], &[0xff; 4]].concat(),
        // A query longer than its connection, one that is no command, a timeline that is not there.
        [&startup()[..], b"Q\x7f\xff\xff\xff"].concat(),
        [startup(), query("DROP TABLE students")].concat(),
        [startup(), query("pagestream_v3 main nowhere")].concat(),
        [startup(), query("pagestream_v3 ../../etc main")].concat(),
        // Requests that are none: empty, of an unknown kind, cut short.
        [opened(), frame(b'd', b"")].concat(),
        [opened(), frame(b'd', &[0xee; 40])].concat(),
        [opened(), frame(b'd', &[2, 0, 0])].concat(),
        [opened(), frame(b'B', &[0; 9])].concat(),
    ];
    for _ in 0..RANDOM_CLIENTS {
        let head = if random.one_in(2) {
            opened()
        } else {
            Vec::new()
        };
        let noise = (0..random.below(2_000)).map(|_| random.below(256) as u8);
        clients.push(head.into_iter().chain(noise).collect());
    }
    for (number, bytes) in clients.iter().enumerate() {
        speak(address, bytes).with_context(|| format!("client {number}"))?;
    }
    ensure!(
        good.page(ReadAt::LATEST, tag)? == &page,
        "the good client's page changed"
    );
    let log = server.stop()?;
    ensure!(
        log.find(|line| line.level == "CRIT" || line.text.contains("panicked"))
            .is_none(),
        "{}",
        log.tail()
    );
    Ok(())
}

#[test]
fn a_request_waits_for_its_lsn_and_is_refused_outside_the_window() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let mut daemon = scene.daemon(crate::PROGRAM);
    daemon.config += "wait_lsn_timeout_s = 2\n";
    let server = daemon.start()?;
    let imported = server.log.wait_for("primary imported")?;
    let oldest: Lsn = imported.field("readable_from").parse()?;
    server.log.wait_for("primary imported")?;
    let mut sql = scene.primary.client("postgres")?;
    sql.batch_execute("CREATE TABLE waited (id int)")?;
    let tag = first_page_of(&scene.primary, "waited")?;

    // Its LSN arrives while it waits.
    let soon = scene.primary.insert_lsn()? + 1;
    let mut waiting = server.client()?;
    waiting.set_timeout(Some(PATIENCE))?;
    let asked = std::thread::spawn(move || waiting.page(ReadAt::exactly(soon), tag).copied());
    sql.batch_execute("INSERT INTO waited VALUES (1)")?;
    scene.wait_acknowledged(scene.primary.insert_lsn()?)?;
    match asked.join().expect("the client does not panic") {
        Ok(_) => {}
        // The insert's first record may begin after the LSN that was asked for: no page there yet.
        Err(ClientError::Request(text)) => ensure!(!text.contains("did not arrive"), "{text}"),
        Err(error) => return Err(error.into()),
    }

    let mut client = server.client()?;
    let far = soon + (1 << 30);
    let late = refusal(client.page(ReadAt::exactly(far), tag).copied())?;
    ensure!(
        late.contains("did not arrive within 2s") && late.contains(&far.to_string()),
        "{late}"
    );
    let before = Lsn::new(oldest.get() - 1);
    let class = first_page_of(&scene.primary, "pg_class")?;
    let refused = refusal(client.page(ReadAt::exactly(before), class).copied())?;
    ensure!(refused.contains(&oldest.to_string()), "{refused}");
    // The stream survives refusals.
    client.page(ReadAt::exactly(oldest), class)?;
    server.stop()?;
    Ok(())
}

fn refusal<T>(answer: Result<T, ClientError>) -> Result<String> {
    match answer {
        Err(ClientError::Request(text)) => Ok(text),
        Err(error) => Err(error.into()),
        Ok(_) => anyhow::bail!("this should have been refused"),
    }
}

/// Sends bytes, ends sending, and reads until the server hangs up.
fn speak(address: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    // The server may hang up in the middle.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            anyhow::bail!("the server neither answers nor hangs up")
        }
        _ => Ok(()),
    }
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0nobody\0\0";
    [&(4 + body.len() as u32).to_be_bytes()[..], body].concat()
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (4 + body.len() as u32).to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn query(text: &str) -> Vec<u8> {
    frame(b'Q', format!("{text}\0").as_bytes())
}

/// A page stream that was opened.
fn opened() -> Vec<u8> {
    [startup(), query("pagestream_v3 main main")].concat()
}
