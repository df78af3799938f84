/** How a {@linkcode Relay} is made. */
export interface RelayOptions {
  /** A port on 127.0.0.1. */
  target: number;
  /** Milliseconds that each byte takes, each way. Bandwidth is not limited. */
  latency?: number;
}

/** A TCP relay on loopback, which makes the weather: latency, cuts, silence. */
export class Relay implements AsyncDisposable {
  /** Connections that were made to it so far. */
  connections = 0;
  /** Bytes that came from clients, and from the target. */
  sent = 0;
  received = 0;
  /** Cuts a connection, once, when so many bytes have come from the target. */
  cutAfter = Infinity;
  readonly port: number;
  readonly #target: number;
  readonly #latency: number;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #work = new Set<Promise<void>>();
  #listener: Deno.TcpListener | undefined;
  #stalled: PromiseWithResolvers<void> | undefined;

  private constructor({ target, latency = 0 }: RelayOptions) {
    this.#target = target;
    this.#latency = latency;
    this.port = this.#listen(0);
  }

  /** Starts one. */
  static start(options: RelayOptions): Relay {
    return new Relay(options);
  }

  /** Ends all connections that stand. New ones are taken. */
  cut(): void {
    for (const it of this.#open) close(it);
    this.#open.clear();
  }

  /** From now on nothing goes through, and connections stay: a black hole. */
  stall(): void {
    this.#stalled ??= Promise.withResolvers();
  }

  /** Ends all connections, and takes no further ones. */
  refuse(): void {
    this.#listener?.close();
    this.#listener = undefined;
    this.cut();
  }

  /** Ends {@linkcode stall} and {@linkcode refuse}. */
  resume(): void {
    this.#stalled?.resolve();
    this.#stalled = undefined;
    if (!this.#listener) this.#listen(this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.refuse();
    this.#stalled?.resolve();
    // Each may begin another: a connection's two directions.
    while (this.#work.size) await Promise.all(this.#work);
  }

  #listen(port: number): number {
    const listener = Deno.listen({ hostname: "127.0.0.1", port });
    this.#listener = listener;
    this.#do(async () => {
      for await (const it of listener) this.#do(() => this.#serve(it));
    });
    return listener.addr.port;
  }

  #do(work: () => Promise<void>): void {
    const done = work().catch(() => {}) // closed, by either side or by us
      .finally(() => this.#work.delete(done));
    this.#work.add(done);
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    this.connections++;
    this.#open.add(client);
    try {
      const target = await Deno.connect({
        hostname: "127.0.0.1",
        port: this.#target,
      });
      if (this.#open.has(client)) this.#open.add(target);
      else close(target); // cut meanwhile
      client.setNoDelay();
      target.setNoDelay();
      const end = () => {
        close(client);
        close(target);
      };
      await Promise.allSettled([
        this.#pipe(client, target, async (bytes) => {
          this.sent += bytes.length;
          await writeAll(target, bytes);
        }).catch(end),
        this.#pipe(target, client, async (bytes) => {
          const left = this.cutAfter;
          this.received += bytes.length;
          if (bytes.length < left) {
            this.cutAfter -= bytes.length;
            return await writeAll(client, bytes);
          }
          this.cutAfter = Infinity; // of others that send meanwhile, too
          await writeAll(client, bytes.subarray(0, left));
          end();
        }).catch(end),
      ]);
      close(target);
      this.#open.delete(target);
    } finally {
      close(client);
      this.#open.delete(client);
    }
  }

  /** Reads on while what was read is on its way. */
  async #pipe(
    from: Deno.TcpConn,
    to: Deno.TcpConn,
    send: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    let way = Promise.resolve();
    let failed: unknown;
    const after = (at: number, then: () => Promise<void>) => {
      way = way.then(async () => {
        const left = at - performance.now();
        if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
        await this.#stalled?.promise;
        await then();
      }).catch((error) => {
        failed ??= error;
      });
    };
    try {
      while (!failed) {
        const buffer = new Uint8Array(1 << 16);
        const bytes = await from.read(buffer);
        const at = performance.now() + this.#latency;
        if (bytes === null) {
          after(at, () => to.closeWrite());
          break;
        }
        after(at, () => send(buffer.subarray(0, bytes)));
      }
    } finally {
      await way;
    }
    if (failed) throw failed;
  }
}

async function writeAll(to: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch { /* it is */ }
}
