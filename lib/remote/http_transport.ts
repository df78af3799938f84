import { EMPTY } from "./digest.ts";
import type { Counts, EngineCall, EngineOptions } from "./engine.ts";
import { Attempt } from "./http_attempt.ts";
import { below, clientOf, headersOf } from "./http_client.ts";
import { bodyOf, type HttpBody } from "./http_body.ts";
import {
  fetchError,
  HttpError,
  saysNotThere,
  statusError,
} from "./http_error.ts";
import { Presence } from "./http_presence.ts";
import { redirected } from "./http_redirect.ts";
import { Room } from "./pool.ts";

/** What is asked of a server. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "PUT";
  /** Below the server's address: `cas/…`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
}

/** What it answered with success. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Its body, once. It throws if that does not come to its end. */
  read(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** How a kind of server differs from others. */
export interface Dialect {
  /** Further headers, for that very address. `hash`: of the body. */
  sign?(
    method: string,
    url: URL,
    hash: string,
  ): Promise<Readonly<Record<string, string>>>;
  /** The server's own word for a failure, from the body of its answer. */
  codeOf?(text: string): string | undefined;
  /** What that word means, if the status does not say it. */
  errorOf?(method: string, status: number, code: string): HttpError | undefined;
}

/** Requests at the same time, so many connections there are. */
export const AT_ONCE = 16;
/** How often something is asked again, and after how many milliseconds. */
const PAUSES = [100, 400];
const HOPS = 3;
/** As much as is read of what a server says to a failure. */
const EXPLANATION = 16 << 10;

/** Requests to one server: with deadlines, tried again where that helps. */
export class HttpTransport implements Disposable {
  readonly counts: Counts = { calls: 0, sentBytes: 0, receivedBytes: 0 };
  readonly #base: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #dialect: Dialect;
  readonly #client: Deno.HttpClient;
  readonly #idleTimeout: number;
  readonly #presence: Presence;
  readonly #room = new Room(AT_ONCE);

  /** @throws RemoteError If a header or a certificate is none. */
  constructor(base: URL, options: EngineOptions, dialect: Dialect = {}) {
    this.#base = new URL(base);
    this.#headers = headersOf(options.headers);
    this.#dialect = dialect;
    this.#client = clientOf(options);
    this.#idleTimeout = options.idleTimeout ?? 10_000;
    this.#presence = new Presence(
      options.connectTimeout ?? 2_000,
      (signal) => this.#ask(signal),
    );
  }

  /**
   * Asks, and lets `use` have the answer; again with a further one, if that was cut.
   *
   * @returns What `use` returns; `undefined` if there is no such object.
   * @throws RemoteError; the signal's reason; what `use` and the source of a body throw.
   */
  async send<T>(
    request: HttpRequest,
    call: EngineCall,
    use: (answer: HttpAnswer) => T | Promise<T>,
  ): Promise<T | undefined> {
    for (let tries = 0;; tries++) {
      try {
        return await this.#room.run(
          call.signal,
          () => this.#once(request, call, use),
        );
      } catch (error) {
        if (!(error instanceof HttpError) || !error.again) throw error;
        const pause = PAUSES[tries];
        if (pause === undefined) {
          if (error.cut && request.body) await this.#seeWhetherRefused(call);
          throw error;
        }
        await delay(pause * (0.75 + Math.random() / 2), call.signal);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  async #once<T>(
    request: HttpRequest,
    call: EngineCall,
    use: (answer: HttpAnswer) => T | Promise<T>,
  ): Promise<T | undefined> {
    call.signal.throwIfAborted();
    await using attempt = new Attempt(call.signal, this.#idleTimeout);
    const watch = this.#presence.watch((error) => attempt.fail(error));
    try {
      const response = await this.#fetch(request, attempt, call);
      await watch.end(true);
      attempt.rest();
      const read = () =>
        attempt.read(response.body, (bytes) => {
          this.counts.receivedBytes += bytes;
          call.onBytes?.(bytes);
        });
      if (!response.ok) {
        return await this.#failed(request.method, response, read());
      }
      const answer = { status: response.status, headers: response.headers };
      const used = await use({ ...answer, read });
      // So that the connection can be used again.
      if (!response.bodyUsed) await beginning(read());
      return used;
    } catch (error) {
      call.signal.throwIfAborted();
      throw attempt.failure ? attempt.failure.error : error;
    } finally {
      await watch.end(false);
    }
  }

  /** Also where it redirects to. */
  async #fetch(
    { method, path, headers, body }: HttpRequest,
    attempt: Attempt,
    call: EngineCall,
  ): Promise<Response> {
    let url = below(this.#base, path);
    for (let hops = 0;; hops++) {
      const hash = body?.hash ?? EMPTY.hash;
      const signed = await this.#dialect.sign?.(method, url, hash);
      this.counts.calls++;
      attempt.wait();
      let response: Response;
      try {
        response = await fetch(url, {
          method,
          // What was asked for by its digest is wanted as it is.
          headers: {
            ...this.#headers,
            ...signed,
            ...headers,
            "accept-encoding": "identity",
          },
          ...body && {
            body: bodyOf(body, attempt, (bytes) => {
              this.counts.sentBytes += bytes;
              call.onBytes?.(bytes);
            }),
          },
          redirect: "manual",
          client: this.#client,
          signal: attempt.signal,
        });
      } catch (error) {
        attempt.fail(fetchError(error));
        throw error;
      }
      const location = response.headers.get("location");
      const { status } = response;
      if (status < 300 || status > 399 || location === null) return response;
      await response.body?.cancel();
      if (hops === HOPS) throw new HttpError("refused", "redirects, on and on");
      url = redirected(method, url, status, location);
    }
  }

  /** Throws what it says, unless that is that there is nothing. */
  async #failed(
    method: string,
    { status }: Response,
    body: AsyncIterable<Uint8Array>,
  ): Promise<undefined> {
    const text = await beginning(body);
    const code = this.#dialect.codeOf?.(text);
    const own = code && this.#dialect.errorOf?.(method, status, code);
    if (own) throw own;
    if (!saysNotThere(method, status)) throw statusError(method, status, code);
  }

  /** Whether there is anybody, and nothing else. */
  async #ask(signal: AbortSignal): Promise<void> {
    const url = below(this.#base, `cas/${EMPTY.hash}`);
    const signed = await this.#dialect.sign?.("HEAD", url, EMPTY.hash);
    this.counts.calls++;
    const response = await fetch(url, {
      method: "HEAD",
      headers: { ...this.#headers, ...signed },
      redirect: "manual",
      client: this.#client,
      signal,
    });
    await response.body?.cancel();
  }

  /** Who takes no uploads often hangs up in the middle of one, and its reason is lost. */
  async #seeWhetherRefused(call: EngineCall): Promise<void> {
    const body = { size: 0, hash: EMPTY.hash, read: () => [] };
    try {
      const request = {
        method: "PUT",
        path: `cas/${EMPTY.hash}`,
        body,
      } as const;
      await this.#once(request, call, () => {});
    } catch (error) {
      call.signal.throwIfAborted();
      if (error instanceof HttpError && error.kind === "refused") throw error;
    }
  }
}

async function beginning(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > EXPLANATION) break;
  }
  return text;
}

function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
