import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";

/** The connections of a line, one after another. */
export class Sockets {
  readonly #tls: ConnectionOptions;
  /** Those that we end ourselves. */
  readonly #ended = new WeakSet<Socket>();
  #latest: Socket | undefined;

  constructor(tls: ConnectionOptions) {
    this.#tls = tls;
  }

  /**
   * Opens one as `http2.connect()` does. Its errors are told a moment later: just after it
   * stands nobody listens for those of its session, and they would end the process.
   */
  open({ protocol, hostname, port }: URL): Socket {
    const host = hostname.replace(/^\[|\]$/g, "");
    const isTls = protocol === "https:";
    const at = { host, port: Number(port) || (isTls ? 443 : 80) };
    const socket = isTls
      ? connectTls({
        ...this.#tls,
        ...at,
        ALPNProtocols: ["h2"],
        ...isIP(host) === 0 && { servername: host },
      })
      : connect(at);
    const destroy = socket.destroy.bind(socket);
    socket.destroy = (error) => {
      if (!error || this.#ended.has(socket)) return destroy(error);
      setTimeout(() => destroy(error));
      return socket;
    };
    this.#latest = socket;
    return socket;
  }

  /** Says that the latest one is ended by us. */
  end(): void {
    if (this.#latest) this.#ended.add(this.#latest);
    this.#latest = undefined;
  }
}
