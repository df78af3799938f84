import { connect, type Socket } from "node:net";

/** The connections of a line in clear text, one after another. */
export class Sockets {
  /** Those that we end ourselves. */
  readonly #ended = new WeakSet<Socket>();
  #latest: Socket | undefined;

  /**
   * Opens one as `http2.connect()` does. Its errors are told a moment later: just after it
   * stands nobody listens for those of its session, and they would end the process.
   */
  open({ hostname, port }: URL): Socket {
    const host = hostname.replace(/^\[|\]$/g, "");
    const socket = connect({ host, port: Number(port) || 80 });
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
