/**
 * Bazel's Remote Execution API, version 2, as far as a cache goes. To be imported when a
 * remote is opened, and not before: what it needs takes long to load.
 *
 * @module
 */

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { RemoteSink, RemoteSource } from "../cache/remote.ts";
import { inBatches, nameOf, unique } from "./batches.ts";
import {
  type Counts,
  type Digest,
  type Engine,
  type EngineCall,
  type EngineOptions,
  RemoteError,
  type Upload,
} from "./engine.ts";
import { askedFor, digestMessage, GrpcBatches } from "./grpc_batches.ts";
import { GrpcStreams } from "./grpc_streams.ts";
import {
  ActionCache,
  type ActionResult,
  ActionResultSchema,
  type CacheCapabilities,
  Capabilities,
  Compressor_Value,
  ContentAddressableStorage,
  DigestFunction_Value,
} from "./messages_pb.ts";
import { retried, type Rpc, type RpcCall, RpcCode, RpcError } from "./rpc.ts";
import { ConnectRpc } from "./rpc_connect.ts";
import { pool, Room } from "./pool.ts";

/** A server that is asked by gRPC: `grpc://host:port/instance`, `grpcs://…`. */
export class GrpcEngine implements Engine {
  readonly layout = "files";
  readonly counts: Counts = { calls: 0, sentBytes: 0, receivedBytes: 0 };
  readonly #rpc: Rpc;
  readonly #instanceName: string;
  readonly #room = new Room(AT_ONCE);
  readonly #batches: GrpcBatches;
  readonly #streams: GrpcStreams;
  #limit = limitOf(0);

  /** Connects to nothing yet. Of the URL, user and password are not used. */
  constructor(url: string | URL, options: EngineOptions = {}) {
    const { origin, instanceName } = parseAddress(url);
    this.#rpc = new ConnectRpc(origin, options);
    this.#instanceName = instanceName;
    this.#batches = new GrpcBatches(this.#rpc, instanceName);
    this.#streams = new GrpcStreams(this.#rpc, instanceName);
  }

  async open(call: EngineCall): Promise<{ update?: boolean }> {
    const request = { instanceName: this.#instanceName };
    const { cacheCapabilities: can } = await this.#ask(
      call,
      (call) =>
        this.#rpc.unary(Capabilities.method.getCapabilities, request, call),
    );
    if (!can?.digestFunctions.includes(DigestFunction_Value.SHA256)) {
      throw new RemoteError("refused", "The server's cache knows no SHA-256");
    }
    this.#use(can);
    const update = can.actionCacheUpdateCapabilities?.updateEnabled;
    return update === undefined ? {} : { update };
  }

  async getAction(
    action: Digest,
    call: EngineCall,
  ): Promise<Uint8Array | undefined> {
    const request = {
      instanceName: this.#instanceName,
      actionDigest: digestMessage(action),
    };
    let result: ActionResult;
    try {
      result = await this.#ask(
        call,
        (call) =>
          this.#rpc.unary(ActionCache.method.getActionResult, request, call),
      );
    } catch (error) {
      const isMiss = error instanceof RpcError &&
        error.code === RpcCode.NOT_FOUND;
      if (isMiss) return undefined;
      throw error;
    }
    // With what we don't know of, as that is kept.
    return toBinary(ActionResultSchema, result);
  }

  async putAction(
    action: Digest,
    result: Uint8Array<ArrayBuffer>,
    call: EngineCall,
  ): Promise<void> {
    const request = {
      instanceName: this.#instanceName,
      actionDigest: digestMessage(action),
      actionResult: fromBinary(ActionResultSchema, result),
    };
    await this.#ask(
      call,
      (call) =>
        this.#rpc.unary(ActionCache.method.updateActionResult, request, call),
    );
  }

  async missing(
    digests: readonly Digest[],
    call: EngineCall,
  ): Promise<Digest[]> {
    const all = unique(digests, (it) => it);
    const parts = [];
    for (let at = 0; at < all.length; at += PART) {
      parts.push(all.slice(at, at + PART));
    }
    const missing: Digest[] = [];
    await this.#forEach(parts, call, async (part, call) => {
      missing.push(...await this.#missingOf(part, call));
    });
    return missing;
  }

  async upload(
    uploads: readonly Upload[],
    source: RemoteSource,
    call: EngineCall,
  ): Promise<void> {
    const all = unique(uploads, ({ digest }) => digest);
    const { batches, large } = inBatches(all, (it) => it.digest, this.#limit);
    await this.#forEach([...large, ...batches], call, async (it, call) => {
      if (isList(it)) await this.#batches.update(it, source, call);
      else await this.#streams.write(it, source, call);
    });
  }

  async download(
    digests: readonly Digest[],
    sink: RemoteSink,
    call: EngineCall,
  ): Promise<Digest[]> {
    const all = unique(digests, (it) => it);
    const { batches, large } = inBatches(all, (it) => it, this.#limit);
    const gone: Digest[] = [];
    await this.#forEach([...large, ...batches], call, async (it, call) => {
      if (isList(it)) gone.push(...await this.#batches.read(it, sink, call));
      else if (!await this.#streams.read(it, sink, call)) gone.push(it);
    });
    return gone;
  }

  [Symbol.dispose](): void {
    this.#rpc[Symbol.dispose]();
  }

  #use(can: CacheCapabilities): void {
    const { ZSTD } = Compressor_Value;
    const reads = can.supportedCompressors.includes(ZSTD);
    this.#limit = limitOf(Number(can.maxBatchTotalSizeBytes));
    this.#streams.usesZstd = reads;
    this.#batches.readsZstd = reads;
    this.#batches.updatesZstd = can.supportedBatchUpdateCompressors
      .includes(ZSTD);
  }

  async #missingOf(part: readonly Digest[], call: RpcCall): Promise<Digest[]> {
    const { findMissingBlobs } = ContentAddressableStorage.method;
    const request = {
      instanceName: this.#instanceName,
      blobDigests: part.map(digestMessage),
    };
    const { missingBlobDigests } = await retried(
      call.signal,
      () => this.#rpc.unary(findMissingBlobs, request, call),
    );
    const asked = new Map(part.map((digest) => [nameOf(digest), digest]));
    const missing = missingBlobDigests.map((it) => askedFor(asked, it));
    return unique(missing, (it) => it);
  }

  /** A call by itself, which does no harm if it is made twice. */
  #ask<T>(call: EngineCall, ask: (call: RpcCall) => Promise<T>): Promise<T> {
    const { signal } = call;
    const counted = this.#counted(call, signal);
    return this.#room.run(
      signal,
      () => retried(signal, () => ask(counted)),
    );
  }

  #forEach<T>(
    items: readonly T[],
    call: EngineCall,
    job: (item: T, call: RpcCall) => Promise<void>,
  ): Promise<void> {
    return pool(
      items,
      AT_ONCE,
      call.signal,
      (item, signal) =>
        this.#room.run(signal, () => job(item, this.#counted(call, signal))),
    );
  }

  #counted({ onBytes }: EngineCall, signal: AbortSignal): RpcCall {
    const { counts } = this;
    return {
      signal,
      onCall: () => counts.calls++,
      onSent: (bytes) => {
        counts.sentBytes += bytes;
        onBytes?.(bytes);
      },
      onReceived: (bytes) => {
        counts.receivedBytes += bytes;
        onBytes?.(bytes);
      },
    };
  }
}

/** Calls at the same time: each holds contents in memory, and a stream open. */
const AT_ONCE = 4;

/** Digests in a call of FindMissingBlobs: 80 bytes each, of 4 MiB. */
const PART = 20_000;
/** The largest message that gRPC servers take if nobody changed that. */
const USUAL_LIMIT = 4 << 20;

/** How large contents and what is around them may be together. 0: the server doesn't say. */
function limitOf(most: number): number {
  const limit = Math.min(most > 0 ? most : USUAL_LIMIT, USUAL_LIMIT);
  // What else is in a message is small, but there.
  return limit - Math.min(1 << 16, limit >> 3);
}

function parseAddress(address: string | URL): {
  origin: string;
  instanceName: string;
} {
  const { protocol, host, pathname } = new URL(address);
  const scheme = protocol === "grpcs:" ? "https" : "http";
  if (host === "" || !/^grpcs?:$/.test(protocol)) {
    throw new TypeError("Not an address as grpc://host:port/instance");
  }
  const instanceName = decodeURIComponent(pathname).replaceAll(
    /^\/+|\/+$/g,
    "",
  );
  return { origin: `${scheme}://${host}`, instanceName };
}

function isList<T>(it: T | readonly T[]): it is readonly T[] {
  return Array.isArray(it);
}
