//! Carries HTTP: one thread with a small runtime for the sockets, a bounded pool of threads for what
//! the requests do. Everything a client can make wait or grow has a limit.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use slog::{Logger, debug, error, info, o, warn};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::answer::{Answer, ApiError};
use super::api::{Api, ApiRequest, HttpSources};
use crate::listen::{Listen, StartError};

/// Connections at once; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;

/// Requests at once that do something; further ones wait for a thread.
const MAX_THREADS: usize = 8;

/// Bytes of a request's body. The longest that has a meaning names a directory.
const MAX_BODY: usize = 64 * 1024;

/// For a request's head, for its body, and for the answer to be taken.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// How long `stop` waits for requests under way.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long to leave the listener alone when it fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running HTTP service. Dropping it stops it.
pub struct HttpService {
    address: SocketAddr,
    running: Mutex<Option<Running>>,
    log: Logger,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl HttpService {
    /// Listens, and answers from `sources` until [`HttpService::stop`].
    ///
    /// # Errors
    /// If the address may not or cannot be listened on, or no thread can be started.
    pub fn start(
        listen: Listen,
        sources: HttpSources,
        log: &Logger,
    ) -> Result<HttpService, StartError> {
        let bind_error = |source| StartError::Bind {
            address: listen.address,
            source,
        };
        let listener = listen.bind()?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let log = log.new(o!("part" => "http"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_THREADS)
            .thread_name("http-work")
            .build()
            .map_err(StartError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(bind_error)?
        };
        let (stop, stopped) = oneshot::channel();
        let server = Server {
            api: Arc::new(Api::new(sources)),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            log: log.clone(),
        };
        let thread = thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || server.run(runtime, listener, stopped))
            .map_err(StartError::Thread)?;
        info!(log, "HTTP listens"; "address" => %address);
        let running = Mutex::new(Some(Running { stop, thread }));
        Ok(HttpService {
            address,
            running,
            log,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and returns when requests under way have been answered, at the latest after
    /// some seconds. Does nothing the second time.
    pub fn stop(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Running { stop, thread }) = running.take() else {
            return;
        };
        // Fails if the thread is gone already.
        let _ = stop.send(());
        let _ = thread.join();
        info!(self.log, "HTTP stopped");
    }
}

impl Drop for HttpService {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct Server {
    api: Arc<Api>,
    /// One permit for each connection.
    places: Arc<Semaphore>,
    log: Logger,
}

impl Server {
    fn run(self, runtime: Runtime, listener: TcpListener, stopped: oneshot::Receiver<()>) {
        let places = Arc::clone(&self.places);
        let accepting = runtime.spawn(self.accept(listener));
        runtime.block_on(async {
            // An error means that the handle is gone, which stops, too.
            let _ = stopped.await;
            accepting.abort();
            let idle = places.acquire_many(MAX_CONNECTIONS as u32);
            // What is not done by then is dropped with the runtime.
            let _ = timeout(STOP_LIMIT, idle).await;
        });
        runtime.shutdown_timeout(Duration::ZERO);
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        server.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(self.log, "cannot accept a connection"; "error" => %error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One request on each connection: what a client holds on to is then easy to bound.
    async fn connection(&self, stream: TcpStream) {
        let answered = Notify::new();
        let service = service_fn(|request| async {
            let response = self.respond(request).await;
            answered.notify_one();
            Ok::<_, Infallible>(response)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(CLIENT_LIMIT)
                .serve_connection(TokioIo::new(stream), service)
        );
        let mut too_slow = pin!(async {
            answered.notified().await;
            sleep(CLIENT_LIMIT).await;
        });
        poll_fn(|context| {
            if let Poll::Ready(end) = connection.as_mut().poll(context) {
                if let Err(error) = end {
                    debug!(self.log, "HTTP connection failed"; "error" => %error);
                }
                return Poll::Ready(());
            }
            too_slow.as_mut().poll(context)
        })
        .await;
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match self.answer(request).await {
            Ok(answer) => answer,
            Err(refusal) => refusal.into(),
        };
        self.api.count(&answer);
        wrap(answer)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, ApiError> {
        let (head, body) = request.into_parts();
        let body = match timeout(CLIENT_LIMIT, Limited::new(body, MAX_BODY).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(ApiError::BodyTooLong(MAX_BODY));
            }
            Ok(Err(error)) => return Err(ApiError::Body(error.to_string())),
            Err(_) => return Err(ApiError::SlowBody),
        };
        let api = Arc::clone(&self.api);
        let work = tokio::task::spawn_blocking(move || {
            let content_type = head.headers.get(CONTENT_TYPE);
            api.handle(&ApiRequest {
                method: head.method.as_str(),
                path: head.uri.path(),
                query: head.uri.query().unwrap_or(""),
                content_type: content_type.and_then(|v| v.to_str().ok()).unwrap_or(""),
                body: &body,
            })
        });
        work.await.map_err(|failed| {
            error!(self.log, "an HTTP request failed"; "error" => %failed);
            ApiError::Panicked
        })
    }
}

fn wrap(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    let status = StatusCode::from_u16(answer.status);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(methods) = answer.allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}
