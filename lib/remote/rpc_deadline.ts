import { RpcError } from "./rpc.ts";

/** How long to wait, in milliseconds. */
export interface Deadlines {
  /** Until a server says anything at all on a connection. */
  readonly connect: number;
  /** Without a byte from it, while we wait for it. */
  readonly idle: number;
}

/** A connection, as far as deadlines go. */
export interface Heard {
  /** Bytes that came over it; of another one after it was opened anew. */
  readonly bytesHeard: number;
  /** Ends it, and all calls, for a reason. The next call opens another. */
  fail(reason: RpcError): void;
  /** The last reason of those. */
  readonly failure: RpcError | undefined;
}

/**
 * Ends a call when nothing is heard of the server for too long. There is no limit to how
 * long it may take while bytes come: those of a slow line, too. A server that reads what
 * we send says so, by windows that it opens, and so those are heard as well.
 */
export class Deadline implements Disposable {
  /** Aborted when the time is up, and when the caller's is. */
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal;
  readonly #stop = () => {
    clearInterval(this.#timer);
    this.#controller.abort(this.#caller.reason);
  };
  readonly #line: Heard;
  readonly #deadlines: Deadlines;
  readonly #step: number;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #earlier: RpcError | undefined;
  #heard: number;
  /** Counted in steps: time in which this process stood still is not the server's. */
  #silence = 0;
  #waits = true;

  constructor(caller: AbortSignal, line: Heard, deadlines: Deadlines) {
    this.#caller = caller;
    this.#line = line;
    this.#deadlines = deadlines;
    this.#heard = line.bytesHeard;
    this.#earlier = line.failure;
    this.signal = this.#controller.signal;
    this.#step = Math.max(1, Math.min(deadlines.connect, deadlines.idle) / 10);
    this.#timer = setInterval(() => this.#look(), this.#step);
    caller.addEventListener("abort", this.#stop);
    if (caller.aborted) this.#stop();
  }

  /** Waits for the server, and is done with waiting then: what we do takes what it takes. */
  async waitFor<T>(what: Promise<T>): Promise<T> {
    this.resume();
    try {
      return await what;
    } finally {
      this.pause();
    }
  }

  /** From now on we keep the server waiting. */
  pause(): void {
    this.#waits = false;
  }

  /** From now on we wait for the server. */
  resume(): void {
    this.#silence = 0;
    this.#waits = true;
  }

  /** Why the call was ended by us, if it was: for its caller, or with the connection. */
  get reason(): unknown {
    if (this.signal.aborted) return this.signal.reason;
    const { failure } = this.#line;
    return failure === this.#earlier ? undefined : failure;
  }

  /** Ends the call, if it is not over yet. */
  end(): void {
    if (!this.signal.aborted) this.#controller.abort();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#caller.removeEventListener("abort", this.#stop);
  }

  #look(): void {
    const heard = this.#line.bytesHeard;
    if (heard !== this.#heard || !this.#waits) this.#silence = 0;
    else this.#silence += this.#step;
    this.#heard = heard;
    const limit = heard > 0 ? this.#deadlines.idle : this.#deadlines.connect;
    if (this.#silence < limit) return;
    const seconds = limit / 1000;
    const message = heard > 0
      ? `Nothing was heard of the server for ${seconds} s`
      : `The server did not answer within ${seconds} s`;
    // Not to be tried again: that would keep the caller waiting for as long again.
    this.#line.fail(new RpcError(4, message, { isTransient: false }));
    this.#controller.abort(this.reason);
  }
}
