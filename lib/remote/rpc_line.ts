import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
} from "node:http2";
import { getCACertificates } from "node:tls";
import { Http2SessionManager } from "@connectrpc/connect-node";
import type { EngineOptions } from "./engine.ts";
import type { RpcError } from "./rpc.ts";
import type { Heard } from "./rpc_deadline.ts";
import { Sockets } from "./rpc_socket.ts";

/** What may be under way to us without being asked for again. */
const WINDOW = 16 << 20;

/** The connection to a server, which is opened anew when a call finds it closed. */
export class Line extends Http2SessionManager implements Heard {
  failure: RpcError | undefined;
  readonly #sockets: Sockets;
  #session: ClientHttp2Session | undefined;

  constructor(origin: string, { ca, cert, key }: EngineOptions) {
    const sockets = new Sockets();
    // An idle connection is closed with the remote. The timer for it would be set once more
    // after that.
    super(origin, { idleConnectionTimeoutMs: Infinity }, {
      // By itself it would take the place of those that are trusted anyway.
      ...ca !== undefined && { ca: [...getCACertificates("default"), ca] },
      ...cert !== undefined && { cert },
      ...key !== undefined && { key },
      // A handshake comes first by TLS, and its errors are heard.
      ...origin.startsWith("http:") && {
        createConnection: (authority: URL) => sockets.open(authority),
      },
      settings: { initialWindowSize: WINDOW, enablePush: false },
    });
    this.#sockets = sockets;
  }

  /** 0 while there is none, and until the server has said anything. */
  get bytesHeard(): number {
    const session = this.#session;
    if (!session || session.destroyed) return 0;
    try {
      return session.socket.bytesRead;
    } catch {
      return 0; // It is gone.
    }
  }

  override async request(
    ...request: Parameters<Http2SessionManager["request"]>
  ): Promise<ClientHttp2Stream> {
    const stream = await super.request(...request);
    const session = stream.session as ClientHttp2Session | undefined;
    if (session && session !== this.#session) {
      this.#session = session;
      // Said to the calls already; a further one must not end the process.
      session.on("error", () => {});
      // node leaves this one, of all streams together, at 64 KiB: 16 MB over a round trip
      // of 20 ms take 10 s then.
      session.setLocalWindowSize(WINDOW);
    }
    // A server may answer before it has all of a content. What still waits in such a stream
    // must not keep the others from being sent.
    stream.once("end", () => {
      if (!stream.writableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
    });
    return stream;
  }

  fail(reason: RpcError): void {
    this.failure = reason;
    this.#session = undefined;
    this.#sockets.end();
    this.abort();
  }
}
