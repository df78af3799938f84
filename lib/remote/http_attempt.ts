import { fetchError, HttpError } from "./http_error.ts";

/** One try of a request: its deadlines, and why it failed. */
export class Attempt implements AsyncDisposable {
  readonly signal: AbortSignal;
  /** Why it failed, if it is not for what the caller did with the answer. */
  failure: { readonly error: unknown } | undefined;
  readonly #abort = new AbortController();
  readonly #idle: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;
  readonly #ends: (() => Promise<unknown>)[] = [];

  /** @param idle Milliseconds without a byte. */
  constructor(signal: AbortSignal, idle: number) {
    this.#idle = idle;
    this.signal = AbortSignal.any([signal, this.#abort.signal]);
  }

  /** From now on the server has to do something. `times` the usual time. */
  wait(times = 1): void {
    this.rest();
    if (this.#over) return;
    const time = this.#idle * times;
    this.#timer = setTimeout(() => {
      this.fail(new HttpError("down", `not a byte in ${seconds(time)}`));
    }, time);
  }

  /** It has, or it is our turn. */
  rest(): void {
    clearTimeout(this.#timer);
  }

  /** Ends it. The first reason counts. */
  fail(error: unknown): void {
    this.failure ??= { error };
    this.#abort.abort(error);
  }

  /** What comes, as it comes, with a deadline for each piece. */
  async *read(
    body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
    onBytes: (bytes: number) => void,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    if (!body) return;
    const reader = body.getReader();
    try {
      while (true) {
        const { done, value } = await this.#next(reader);
        if (done) return;
        onBytes(value.length);
        yield value;
      }
    } finally {
      // What is left of it is not wanted. It may have failed, which is known by then.
      await reader.cancel().catch(() => {});
      reader.releaseLock();
    }
  }

  /** Something to be done when it is over, however that comes. */
  atEnd(end: () => Promise<unknown>): void {
    this.#ends.push(end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    this.rest();
    // Whoever has not read the answer to its end is not going to.
    this.#abort.abort();
    await Promise.allSettled(this.#ends.map((end) => end()));
  }

  async #next(reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>) {
    this.wait();
    try {
      return await reader.read();
    } catch (error) {
      this.fail(fetchError(error));
      throw error;
    } finally {
      this.rest();
    }
  }
}

/** For people. */
export function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}
