/**
 * What a cache asks of a remote: of a server that machines share. `lib/remote/` answers.
 *
 * @module
 */

import type { ListedDirectory } from "../link/listing.ts";

/**
 * A content: its SHA-256 in 64 hexadecimal digits, and its bytes.
 */
export interface Digest {
  /** The SHA-256. */
  readonly hash: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * Under what a remote keeps a tree.
 */
export interface RemoteKey {
  /** The bucket: equal keys of different buckets have nothing to do with each other. */
  readonly bucket: string;
  /** The key. */
  readonly key: string;
}

/**
 * Where the contents of what is pulled go. It checks each, and takes none that is wrong.
 */
export interface RemoteSink {
  /**
   * A tree that the cache has, which may be the one that is pulled: what it lists then
   * need not come once more.
   */
  readonly tree?: () => Promise<readonly ListedDirectory[] | undefined>;
  /**
   * Whether the cache has it already.
   *
   * @param mode That of a file with it.
   */
  has(digest: Digest, mode?: number): boolean;
  /** Takes a content that is in memory. Throws {@linkcode WrongContent} if it is another. */
  put(digest: Digest, content: Uint8Array): void;
  /** Takes a content as it comes. Throws {@linkcode WrongContent} if it is another. */
  stream(
    digest: Digest,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void>;
}

/**
 * Where the contents of what is pushed come from.
 */
export interface RemoteSource {
  /** All of it. For what is small. */
  read(digest: Digest): Uint8Array<ArrayBuffer>;
  /** In pieces of at most 1 MiB. */
  stream(digest: Digest): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** What came is not what its digest says. */
export class WrongContent extends Error {
  override name = "WrongContent";
}

/**
 * How a remote is asked.
 */
export interface RemoteCallOptions {
  /** Ends it; its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Called with the bytes that went over the wire, and those that will as far as known. */
  onProgress?:
    | ((progress: { bytes: number; totalBytes?: number }) => void)
    | undefined;
}

/**
 * What became of a call.
 *
 * - `hit`: pulled. - `miss`: it is not there, or not whole. - `pushed`: it is there now.
 * - `down`: the server was not reached, was too slow, or failed: that is weather.
 * - `refused`: it was reached and said no (credentials, certificate, address), or what it
 *   sent was not to be trusted.
 * - `off`: not asked, since it was down a moment ago, or may only be read.
 *
 * @category Remote
 */
export type RemoteOutcome =
  | "hit"
  | "miss"
  | "pushed"
  | "down"
  | "refused"
  | "off";

/**
 * What a call to a remote did. It never throws for what a server does.
 *
 * @category Remote
 */
export interface RemoteReport {
  /** What became of it. */
  readonly outcome: RemoteOutcome;
  /** Calls over the network. */
  readonly calls: number;
  /** Bytes of contents and messages that were sent. */
  readonly sentBytes: number;
  /** The same that came. */
  readonly receivedBytes: number;
  /** Files whose content went over the wire. */
  readonly files: number;
  /** Milliseconds in all. */
  readonly durationMs: number;
  /** One line that says why it was not a hit, or not pushed. Without secrets. */
  readonly reason?: string;
}

/**
 * What was pulled: its tree, if all of its contents are in the sink by now.
 */
export interface Pulled {
  /** Its directories, parents first. */
  readonly tree?: readonly ListedDirectory[];
  /** What the call did. */
  readonly report: RemoteReport;
}

/**
 * A server that machines share, as `openRemote()` of `@rebuild/cache/remote` opens it. It
 * is given to `openCache()`. Disposing of it closes its connections.
 *
 * @category Remote
 */
export interface Remote extends Disposable {
  /** For people: without user, password and query. */
  readonly name: string;
  /** Whether it may be written. */
  readonly mode: "read" | "read-write";
}

/** What a cache asks of a remote. */
export interface RemoteServer extends Remote {
  /**
   * Names a folder for notes to the next process (that the server was down just now),
   * unless it has one.
   */
  keepNotesIn(folder: string): void;
  /**
   * Looks a key up, and lets the sink have all contents that it lacks.
   *
   * @throws The signal's reason, and what the sink throws except `WrongContent`.
   */
  pull(
    key: RemoteKey,
    sink: RemoteSink,
    options?: RemoteCallOptions,
  ): Promise<Pulled>;
  /**
   * Puts a tree there: contents first, its key last.
   *
   * @throws The signal's reason, and what the source throws.
   */
  push(
    key: RemoteKey,
    tree: readonly ListedDirectory[],
    source: RemoteSource,
    options?: RemoteCallOptions,
  ): Promise<RemoteReport>;
}
