import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type RemoteSink,
  type RemoteSource,
  WrongContent,
} from "../cache/remote.ts";
import { nameOf } from "./batches.ts";
import { type Digest, RemoteError, type Upload } from "./engine.ts";
import {
  type BatchReadBlobsResponse_Response,
  type BatchUpdateBlobsRequest_RequestSchema,
  Compressor_Value,
  ContentAddressableStorage,
  type Digest as DigestMessage,
  type DigestSchema,
  type Status,
} from "./messages_pb.ts";
import { retried, type Rpc, type RpcCall, RpcCode, RpcError } from "./rpc.ts";
import { compress, decompress } from "./zstd.ts";

const { batchReadBlobs, batchUpdateBlobs } = ContentAddressableStorage.method;
const { IDENTITY, ZSTD } = Compressor_Value;
/** Contents below this are sent as they are: a frame of zstd needs some bytes itself. */
const WORTH_COMPRESSING = 256;

/**
 * Milliseconds for each content of a batch. A server may flush each to its disk, and says
 * nothing before it has done so with all of them.
 */
const PATIENCE = 20;

/** Small contents, many in a message. */
export class GrpcBatches {
  readonly #rpc: Rpc;
  readonly #instanceName: string;
  /** Whether the server may answer in zstd. */
  readsZstd = false;
  /** Whether it takes zstd. */
  updatesZstd = false;

  constructor(rpc: Rpc, instanceName: string) {
    this.#rpc = rpc;
    this.#instanceName = instanceName;
  }

  /** Sends contents that fit in one message. */
  async update(
    batch: readonly Upload[],
    source: RemoteSource,
    call: RpcCall,
  ): Promise<void> {
    // Those that were not taken yet: a server may take some, and others not.
    const left = new Map(batch.map((it) => [nameOf(it.digest), it]));
    await retried(call.signal, async () => {
      const requests = [...left.values()].map((it) => this.#item(it, source));
      const request = { instanceName: this.#instanceName, requests };
      const patience = requests.length * PATIENCE;
      const answer = await this.#rpc
        .unary(batchUpdateBlobs, request, { ...call, patience });
      const statuses: Status[] = [];
      const asked = new Map(left);
      for (const { digest, status } of answer.responses) {
        const { digest: { hash, size } } = askedFor(asked, digest);
        asked.delete(nameOf({ hash, size }));
        const code = status?.code ?? RpcCode.OK;
        const isTaken = code === RpcCode.OK || code === RpcCode.ALREADY_EXISTS;
        if (isTaken) left.delete(nameOf({ hash, size }));
        else if (status) statuses.push(status);
      }
      if (statuses[0]) throw failureOf(statuses[0]);
      if (asked.size > 0) throw incomplete();
    });
  }

  /** Fetches contents that fit in one message. @returns Those that are not there. */
  async read(
    batch: readonly Digest[],
    sink: RemoteSink,
    call: RpcCall,
  ): Promise<Digest[]> {
    const gone: Digest[] = [];
    const left = new Map(batch.map((digest) => [nameOf(digest), digest]));
    await retried(call.signal, async () => {
      const answer = await this.#rpc.unary(batchReadBlobs, {
        instanceName: this.#instanceName,
        digests: [...left.values()].map(digestMessage),
        acceptableCompressors: this.readsZstd ? [ZSTD] : [],
      }, call);
      const statuses: Status[] = [];
      const asked = new Map(left);
      for (const it of answer.responses) {
        const digest = askedFor(asked, it.digest);
        asked.delete(nameOf(digest));
        const { status } = it;
        if (status && status.code === RpcCode.NOT_FOUND) gone.push(digest);
        else if (status && status.code !== RpcCode.OK) {
          statuses.push(status);
          continue;
        } else take(sink, digest, contentOf(it, digest));
        left.delete(nameOf(digest));
      }
      if (statuses[0]) throw failureOf(statuses[0]);
      if (asked.size > 0) throw incomplete();
    });
    return gone;
  }

  #item(
    { digest, content }: Upload,
    source: RemoteSource,
  ): MessageInitShape<typeof BatchUpdateBlobsRequest_RequestSchema> {
    const data = content ?? source.read(digest);
    const plain = { digest: digestMessage(digest), data, compressor: IDENTITY };
    if (!this.updatesZstd || data.length < WORTH_COMPRESSING) return plain;
    const compressed = compress(data);
    if (compressed.length >= data.length) return plain;
    return { ...plain, data: compressed, compressor: ZSTD };
  }
}

/** A digest as a message. */
export function digestMessage(
  { hash, size }: Digest,
): MessageInitShape<typeof DigestSchema> {
  return { hash, sizeBytes: BigInt(size) };
}

/** What was asked for by the digest of an answer. @throws {RemoteError} If nothing was. */
export function askedFor<T>(
  asked: ReadonlyMap<string, T>,
  digest: DigestMessage | undefined,
): T {
  const name = `${digest?.hash}/${digest?.sizeBytes}`;
  const it = asked.get(name);
  if (it !== undefined) return it;
  throw new RemoteError(
    "wrong",
    "The server answered for a digest that it was not asked for",
  );
}

/** Hands a content over. That it is another is the server's fault. */
function take(sink: RemoteSink, digest: Digest, content: Uint8Array): void {
  try {
    sink.put(digest, content);
  } catch (error) {
    throw error instanceof WrongContent ? wrongContent(digest, error) : error;
  }
}

/** What a sink says of a content, as what it says of the server. */
export function wrongContent(
  { hash }: Digest,
  cause: WrongContent,
): RemoteError {
  const message = `What the server sent is not the content of ${hash}`;
  return new RemoteError("wrong", message, cause);
}

function contentOf(
  { data, compressor }: BatchReadBlobsResponse_Response,
  { size }: Digest,
): Uint8Array {
  if (compressor === ZSTD) return decompress(data, size);
  if (compressor === IDENTITY) return data;
  throw new RemoteError("wrong", "The server compressed unasked");
}

function failureOf({ code, message }: Status): RpcError {
  return new RpcError(code, message || `gRPC code ${code}`);
}

function incomplete(): RemoteError {
  return new RemoteError("wrong", "The server left out answers of a batch");
}
