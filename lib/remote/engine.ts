/**
 * What the three engines have in common: six calls to a server that keeps contents by
 * their digests, and action results by the digests of actions.
 *
 * @module
 */

import type { Digest, RemoteSink, RemoteSource } from "../cache/remote.ts";

export type { Digest } from "../cache/remote.ts";

/** What went over the network. */
export interface Counts {
  calls: number;
  sentBytes: number;
  receivedBytes: number;
}

/** A content to be sent. */
export interface Upload {
  readonly digest: Digest;
  /** Its bytes, if they are in memory; else the source has it. */
  readonly content?: Uint8Array<ArrayBuffer>;
}

/** A part of a content: those of a pack are fetched by range. */
export interface Range {
  readonly digest: Digest;
  /** The first byte, and the first one after it. */
  readonly from: number;
  readonly to: number;
}

/** How an engine does a call. */
export interface EngineCall {
  readonly signal: AbortSignal;
  /** Called with each further number of bytes that went over the wire, either way. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * A server, by one protocol. Calls reject with a {@linkcode RemoteError} for what a server
 * or the network does, and with the signal's reason.
 */
export interface Engine extends Disposable {
  /**
   * How trees are kept there: `files`, an object for each content; `packs`, small contents
   * together (HTTP and S3 take one request for an object).
   */
  readonly layout: "files" | "packs";
  readonly counts: Counts;
  /** Asks what it can do, if its protocol says so. `update`: whether it may be written. */
  open(call: EngineCall): Promise<{ update?: boolean }>;
  /** The action result of an action; `undefined` if there is none. */
  getAction(action: Digest, call: EngineCall): Promise<Uint8Array | undefined>;
  putAction(
    action: Digest,
    result: Uint8Array<ArrayBuffer>,
    call: EngineCall,
  ): Promise<void>;
  /** Those that are not there. */
  missing(digests: readonly Digest[], call: EngineCall): Promise<Digest[]>;
  upload(
    uploads: readonly Upload[],
    source: RemoteSource,
    call: EngineCall,
  ): Promise<void>;
  /** Lets the sink have them. @returns Those that are not there. */
  download(
    digests: readonly Digest[],
    sink: RemoteSink,
    call: EngineCall,
  ): Promise<Digest[]>;
  /** A part of a content. Only where the layout is `packs`. `undefined` if it is not there. */
  range?(range: Range, call: EngineCall): Promise<Uint8Array | undefined>;
}

/**
 * What a server, or the network, did.
 *
 * - `down`: not reached, too slow, cut, overloaded or failing (5xx): weather.
 * - `refused`: it said no: 401, 403, a wrong certificate, a wrong address or protocol,
 *   a redirect to another host.
 * - `wrong`: what it sent is not what it should be.
 */
export class RemoteError extends Error {
  override name = "RemoteError";
  readonly kind: "down" | "refused" | "wrong";
  constructor(kind: RemoteError["kind"], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

/** What an engine is made with. */
export interface EngineOptions {
  /** Sent with each request: credentials among them. Never to be shown. */
  headers?: Readonly<Record<string, string>>;
  /** PEM: authorities that are trusted besides the system's; the client's own. */
  ca?: string;
  cert?: string;
  key?: string;
  /** Milliseconds until a connection must stand, and without a byte. */
  connectTimeout?: number;
  idleTimeout?: number;
}
