import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type RemoteSink,
  type RemoteSource,
  WrongContent,
} from "../cache/remote.ts";
import { nameOf } from "./batches.ts";
import { ByteStream, type WriteRequestSchema } from "./bytestream_pb.ts";
import { type Digest, RemoteError, type Upload } from "./engine.ts";
import { wrongContent } from "./grpc_batches.ts";
import {
  mayRetry,
  retried,
  type Rpc,
  type RpcCall,
  RpcCode,
  RpcError,
} from "./rpc.ts";
import { compressStream, decompressStream } from "./zstd.ts";

/** Bytes of a content in a message. */
const PIECE = 1 << 20;

/** Large contents, each in a stream of its own. */
export class GrpcStreams {
  readonly #rpc: Rpc;
  readonly #instanceName: string;
  /** Whether contents go compressed, both ways. */
  usesZstd = false;

  constructor(rpc: Rpc, instanceName: string) {
    this.#rpc = rpc;
    this.#instanceName = instanceName;
  }

  /** Sends a content. */
  async write(
    upload: Upload,
    source: RemoteSource,
    call: RpcCall,
  ): Promise<void> {
    const { digest } = upload;
    await retried(call.signal, async () => {
      const progress = { bytes: 0 };
      const requests = this.#requests(upload, source, progress);
      const { committedSize } = await this.#rpc
        .clientStream(ByteStream.method.write, requests, call);
      // -1, or all of it, is what a server says that has it already.
      const fits = [-1, digest.size, ...this.usesZstd ? [progress.bytes] : []];
      if (fits.includes(Number(committedSize))) return;
      const message = `The server took ${committedSize} of ${digest.size} B`;
      throw new RemoteError("wrong", message);
    });
  }

  /** Fetches a content. @returns Whether it is there. */
  async read(
    digest: Digest,
    sink: RemoteSink,
    call: RpcCall,
  ): Promise<boolean> {
    const ended = new AbortController();
    const signal = AbortSignal.any([call.signal, ended.signal]);
    const failures: unknown[] = [];
    const pieces = this.#pieces(digest, { ...call, signal });
    try {
      // Of what is not there the sink need not know.
      const first = await pieces.next();
      const content = async function* () {
        try {
          if (!first.done) yield first.value;
          yield* pieces;
        } catch (error) {
          failures.push(error);
          throw error;
        }
      };
      await sink.stream(digest, content());
      return true;
    } catch (thrown) {
      // What the server did counts, whatever the sink makes of it.
      const [error = thrown] = failures;
      if (error instanceof WrongContent) throw wrongContent(digest, error);
      if (error instanceof RpcError && error.code === RpcCode.NOT_FOUND) {
        return false;
      }
      throw error;
    } finally {
      ended.abort();
      // Where the sink didn't read to the end.
      await pieces.return(undefined).catch(() => {});
    }
  }

  /** A content; after a cut, it goes on where it was. */
  async *#pieces(
    digest: Digest,
    call: RpcCall,
  ): AsyncGenerator<Uint8Array, void> {
    let at = 0;
    for (let tries = 0;; tries++) {
      try {
        for await (const piece of this.#piecesFrom(at, digest, call)) {
          at += piece.length;
          if (at > digest.size) throw wrongSize(digest, "longer");
          yield piece;
        }
        if (at < digest.size) throw wrongSize(digest, "shorter");
        return;
      } catch (error) {
        if (at === digest.size && error instanceof RpcError) return;
        if (!await mayRetry(error, tries, call.signal)) throw error;
      }
    }
  }

  #piecesFrom(
    at: number,
    digest: Digest,
    call: RpcCall,
  ): AsyncIterable<Uint8Array> {
    const messages = this.#rpc.serverStream(ByteStream.method.read, {
      resourceName: this.#resource("", digest),
      readOffset: BigInt(at),
    }, call);
    const pieces = async function* () {
      for await (const { data } of messages) yield data;
    };
    if (!this.usesZstd) return pieces();
    return decompressStream(pieces(), digest.size - at);
  }

  async *#requests(
    { digest, content }: Upload,
    source: RemoteSource,
    progress: { bytes: number },
  ): AsyncGenerator<MessageInitShape<typeof WriteRequestSchema>> {
    const resource = `uploads/${crypto.randomUUID()}/`;
    let resourceName = this.#resource(resource, digest);
    const whole = content ? slices(content) : source.stream(digest);
    let read = 0;
    const counted = async function* () {
      for await (const piece of whole) {
        read += piece.length;
        yield piece;
      }
    };
    const pieces = this.usesZstd ? compressStream(counted()) : counted();
    for await (const data of pieces) {
      const writeOffset = BigInt(progress.bytes);
      progress.bytes += data.length;
      const finishWrite = read >= digest.size;
      yield { resourceName, writeOffset, data, finishWrite };
      resourceName = ""; // The first says it for all.
      if (finishWrite) return;
    }
    // What is shorter than it should be: the server says so.
    const writeOffset = BigInt(progress.bytes);
    yield { resourceName, writeOffset, finishWrite: true };
  }

  #resource(upload: string, digest: Digest): string {
    const instance = this.#instanceName && `${this.#instanceName}/`;
    const kind = this.usesZstd ? "compressed-blobs/zstd" : "blobs";
    return `${instance}${upload}${kind}/${nameOf(digest)}`;
  }
}

async function* slices(
  content: Uint8Array<ArrayBuffer>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < content.length; at += PIECE) {
    await Promise.resolve();
    yield content.subarray(at, at + PIECE);
  }
}

function wrongSize({ hash }: Digest, how: string): RemoteError {
  return new RemoteError("wrong", `The server's content of ${hash} is ${how}`);
}
