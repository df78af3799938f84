import { createHash } from "node:crypto";
import {
  type RemoteSink,
  type RemoteSource,
  WrongContent,
} from "../cache/remote.ts";
import { EMPTY } from "./digest.ts";
import {
  type Counts,
  type Digest,
  type Engine,
  type EngineCall,
  type EngineOptions,
  type Range,
  RemoteError,
  type Upload,
} from "./engine.ts";
import { HttpError } from "./http_error.ts";
import type { HttpBody } from "./http_body.ts";
import { PackReader, type Part } from "./http_packs.ts";
import {
  AT_ONCE,
  type Dialect,
  type HttpAnswer,
  HttpTransport,
} from "./http_transport.ts";
import { pool } from "./pool.ts";

/** What is smaller is handed over as a whole. */
const SMALL = 1 << 20;
/** An action result names a file with some 150 bytes: that is 400,000 large ones. */
const LARGEST_RESULT = 64 << 20;

/**
 * Bazel's HTTP cache: `GET`, `HEAD` and `PUT` of `ac/<sha256>` and `cas/<sha256>` below an
 * address. bazel-remote, nginx, Apache and others speak it.
 */
export class HttpEngine implements Engine {
  readonly layout = "packs";
  readonly #transport: HttpTransport;
  readonly #packs: PackReader;

  /**
   * @param base The address that `ac` and `cas` are below, without a user.
   * @param dialect How the server differs, if it is of another kind.
   * @throws RemoteError If a header or a certificate is none.
   */
  constructor(
    base: string | URL,
    options: EngineOptions = {},
    dialect: Dialect = {},
  ) {
    this.#transport = new HttpTransport(new URL(base), options, dialect);
    this.#packs = new PackReader((wanted, call) => this.#part(wanted, call));
  }

  /** What went over the network. */
  get counts(): Counts {
    return this.#transport.counts;
  }

  /** Asks nothing: the protocol has no words for what a server can do. */
  open(call: EngineCall): Promise<{ update?: boolean }> {
    call.signal.throwIfAborted();
    return Promise.resolve({});
  }

  /** The action result of an action; `undefined` if there is none. */
  async getAction(
    action: Digest,
    call: EngineCall,
  ): Promise<Uint8Array | undefined> {
    const request = { method: "GET", path: `ac/${action.hash}` } as const;
    return await this.#transport.send(request, call, async (answer) => {
      if (isPage(answer)) throw page();
      return await collect(answer, undefined, LARGEST_RESULT);
    });
  }

  /** Puts an action result there. */
  async putAction(
    action: Digest,
    result: Uint8Array<ArrayBuffer>,
    call: EngineCall,
  ): Promise<void> {
    const hash = createHash("sha256").update(result).digest("hex");
    const body = { size: result.length, hash, read: () => [result] };
    await this.#put(`ac/${action.hash}`, body, call);
  }

  /** Those that are not there. */
  async missing(
    digests: readonly Digest[],
    call: EngineCall,
  ): Promise<Digest[]> {
    const missing = new Set<Digest>();
    const asked = digests.filter(({ hash }) => hash !== EMPTY.hash);
    await pool(asked, AT_ONCE, call.signal, async (digest, signal) => {
      const request = { method: "HEAD", path: `cas/${digest.hash}` } as const;
      const there = await this.#transport.send(
        request,
        { ...call, signal },
        ({ headers }) => {
          const length = headers.get("content-length");
          return length === null || Number(length) === digest.size;
        },
      );
      if (!there) missing.add(digest);
    });
    return digests.filter((it) => missing.has(it));
  }

  /** Puts contents there. */
  async upload(
    uploads: readonly Upload[],
    source: RemoteSource,
    call: EngineCall,
  ): Promise<void> {
    await pool(uploads, AT_ONCE, call.signal, async (upload, signal) => {
      const { digest: { hash, size }, content } = upload;
      const read = () => {
        if (content) return [content];
        return size < SMALL
          ? [source.read(upload.digest)]
          : source.stream(upload.digest);
      };
      await this.#put(`cas/${hash}`, { size, hash, read }, { ...call, signal });
    });
  }

  /** Lets the sink have them. @returns Those that are not there. */
  async download(
    digests: readonly Digest[],
    sink: RemoteSink,
    call: EngineCall,
  ): Promise<Digest[]> {
    const gone = new Set<Digest>();
    await pool(digests, AT_ONCE, call.signal, async (digest, signal) => {
      const there = await this.#fetch(digest, sink, { ...call, signal });
      if (!there) gone.add(digest);
    });
    return digests.filter((it) => gone.has(it));
  }

  /** A part of a content. `undefined` if it is not there. */
  async range(
    range: Range,
    call: EngineCall,
  ): Promise<Uint8Array | undefined> {
    return await this.#packs.read(range, call);
  }

  [Symbol.dispose](): void {
    this.#packs.clear();
    this.#transport[Symbol.dispose]();
  }

  async #put(path: string, body: HttpBody, call: EngineCall): Promise<void> {
    const headers = { "content-type": "application/octet-stream" };
    const request = { method: "PUT", path, headers, body } as const;
    await this.#transport.send(request, call, () => {});
  }

  async #fetch(
    digest: Digest,
    sink: RemoteSink,
    call: EngineCall,
  ): Promise<boolean> {
    try {
      if (digest.hash === EMPTY.hash) {
        sink.put(digest, new Uint8Array());
        return true;
      }
      const request = { method: "GET", path: `cas/${digest.hash}` } as const;
      const there = await this.#transport.send(
        request,
        call,
        async (answer) => {
          if (digest.size < SMALL) {
            sink.put(digest, await collect(answer, digest.size));
          } else await sink.stream(digest, exactly(answer, digest.size));
          return true;
        },
      );
      return there ?? false;
    } catch (error) {
      if (!(error instanceof WrongContent)) throw error;
      throw new RemoteError("wrong", error.message, error);
    }
  }

  async #part(
    wanted: Range | Digest,
    call: EngineCall,
  ): Promise<Part | undefined> {
    const range = "digest" in wanted ? wanted : undefined;
    const { hash, size } = range ? range.digest : wanted as Digest;
    const request = {
      method: "GET",
      path: `cas/${hash}`,
      ...range &&
        { headers: { range: `bytes=${range.from}-${range.to - 1}` } },
    } as const;
    return await this.#transport.send(request, call, async (answer) => {
      const whole = answer.status !== 206;
      if (whole || !range) {
        return { whole, content: await collect(answer, size) };
      }
      const said = answer.headers.get("content-range");
      const expected = `bytes ${range.from}-${range.to - 1}/`;
      if (said !== `${expected}${size}` && said !== `${expected}*`) {
        throw new HttpError("wrong", "the server sent another range");
      }
      return { whole, content: await collect(answer, range.to - range.from) };
    });
  }
}

/** All of an answer. */
async function collect(
  answer: HttpAnswer,
  size: number | undefined,
  limit = size ?? 0,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of exactly(answer, size, limit)) {
    chunks.push(chunk);
    bytes += chunk.length;
  }
  if (chunks.length === 1) return chunks[0]!;
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** An answer of that size, as it comes: never a byte more. */
async function* exactly(
  answer: HttpAnswer,
  size: number | undefined,
  limit = size ?? 0,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { headers } = answer;
  const wrong = () =>
    isPage(answer) ? page() : new HttpError(
      "wrong",
      size === undefined
        ? "the server sent more than an action result can be"
        : "the server sent a content of another length",
    );
  if ((headers.get("content-encoding") ?? "identity") !== "identity") {
    throw new HttpError(
      "wrong",
      "the server sent it encoded, without being asked to",
    );
  }
  const length = headers.get("content-length");
  if (length !== null && size !== undefined && Number(length) !== size) {
    throw wrong();
  }
  let bytes = 0;
  for await (const chunk of answer.read()) {
    bytes += chunk.length;
    if (bytes > limit) throw wrong();
    yield chunk;
  }
  if (size !== undefined && bytes !== size) throw wrong();
}

function isPage({ headers }: HttpAnswer): boolean {
  return /^text\/html\b/i.test(headers.get("content-type") ?? "");
}

function page(): HttpError {
  const text = "the server sent a web page: is that the address of a cache?";
  return new HttpError("wrong", text);
}
