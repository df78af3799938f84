import { assertEquals, assertRejects } from "@std/assert";
import { Code, ConnectError } from "@connectrpc/connect";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Digest, RemoteError } from "../../lib/remote/engine.ts";
import { GrpcEngine } from "../../lib/remote/grpc.ts";
import { ByteStream } from "../../lib/remote/bytestream_pb.ts";
import {
  ActionCache,
  type BatchReadBlobsResponse_ResponseSchema,
  Compressor_Value,
  ContentAddressableStorage,
  DigestFunction_Value,
} from "../../lib/remote/messages_pb.ts";
import { compress } from "../../lib/remote/zstd.ts";
import { GrpcServer } from "../support/grpc_server.ts";
import {
  digestOf,
  MemorySink,
  MemorySource,
  randomBytes,
} from "../support/memory_contents.ts";

const ZSTD = [Compressor_Value.ZSTD];

function call(): { signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

async function rejects(
  attempt: () => Promise<unknown>,
  kind: RemoteError["kind"],
): Promise<void> {
  const error = await assertRejects(attempt, RemoteError);
  assertEquals(error.kind, kind, error.message);
}

Deno.test("GrpcEngine.open() refuses a cache without SHA-256, or no cache", async () => {
  const { UNKNOWN } = DigestFunction_Value;
  for (const digestFunctions of [[], [UNKNOWN]]) {
    await using server = await GrpcServer.start(() => {}, { digestFunctions });
    using engine = new GrpcEngine(server.url);
    await rejects(() => engine.open(call()), "refused");
  }
});

Deno.test("GrpcEngine.open() says what a server says of updates, or nothing", async () => {
  for (const updateEnabled of [true, false, undefined]) {
    await using server = await GrpcServer.start(
      () => {},
      updateEnabled === undefined
        ? {}
        : { actionCacheUpdateCapabilities: { updateEnabled } },
    );
    using engine = new GrpcEngine(server.url);
    const { update } = await engine.open(call());
    assertEquals(update, updateEnabled);
  }
});

Deno.test("GrpcEngine tries again what fails in passing, and not what doesn't", async () => {
  const outcomes: [Code, RemoteError["kind"], number][] = [
    [Code.Unavailable, "down", 3],
    [Code.ResourceExhausted, "down", 3],
    [Code.Internal, "down", 3],
    [Code.Aborted, "down", 3],
    [Code.Unknown, "down", 1],
    [Code.Unauthenticated, "refused", 1],
    [Code.PermissionDenied, "refused", 1],
    [Code.Unimplemented, "refused", 1],
    [Code.DataLoss, "wrong", 1],
  ];
  for (const [code, kind, tries] of outcomes) {
    let asked = 0;
    await using server = await GrpcServer.start((router) =>
      router.service(ActionCache, {
        getActionResult: () => {
          asked++;
          throw new ConnectError("a\nreason", code);
        },
      })
    );
    using engine = new GrpcEngine(server.url);
    const attempt = () => engine.getAction(digestOf(randomBytes(1)), call());
    const error = await assertRejects(attempt, RemoteError, "a reason");
    assertEquals([error.kind, asked], [kind, tries], Code[code]);
  }
});

Deno.test("GrpcEngine.missing() asks for 20,000 at a time, and takes no others", async () => {
  const sizes: number[] = [];
  const server = await GrpcServer.start((router) =>
    router.service(ContentAddressableStorage, {
      findMissingBlobs: ({ blobDigests }) => {
        sizes.push(blobDigests.length);
        return { missingBlobDigests: blobDigests.slice(0, 1) };
      },
    })
  );
  {
    await using _ = server;
    using engine = new GrpcEngine(server.url);
    const digests = Array.from({ length: 45_000 }, (_, i) => ({
      hash: i.toString(16).padStart(64, "0"),
      size: i,
    }));
    assertEquals((await engine.missing(digests, call())).length, 3);
    assertEquals(sizes.sort((a, b) => a - b), [5000, 20_000, 20_000]);
  }
  const strange = { hash: "d".repeat(64), sizeBytes: 1n };
  await using other = await GrpcServer.start((router) =>
    router.service(ContentAddressableStorage, {
      findMissingBlobs: () => ({ missingBlobDigests: [strange] }),
    })
  );
  using engine = new GrpcEngine(other.url);
  await rejects(
    () => engine.missing([digestOf(randomBytes(1))], call()),
    "wrong",
  );
});

Deno.test("GrpcEngine.upload() looks at each status, and sends again what was not taken", async () => {
  const source = new MemorySource();
  const digests = source.add(randomBytes(10), randomBytes(20), randomBytes(30));
  const uploads = digests.map((digest) => ({ digest }));
  const asked: number[] = [];
  const codes = [Code.ResourceExhausted, 0];
  await using server = await GrpcServer.start((router) =>
    router.service(ContentAddressableStorage, {
      batchUpdateBlobs: ({ requests }) => {
        asked.push(requests.length);
        const code = codes.shift() ?? Code.PermissionDenied;
        const responses = requests.map(({ digest }, i) => ({
          ...digest && { digest },
          status: { code: i === 1 || requests.length === 1 ? code : 0 },
        }));
        return { responses };
      },
    })
  );
  using engine = new GrpcEngine(server.url);
  await engine.upload(uploads, source, call());
  assertEquals(asked, [3, 1]);
  await rejects(() => engine.upload(uploads, source, call()), "refused");
});

Deno.test("GrpcEngine.download() takes no answer that is wrong in a batch", async () => {
  type Response = MessageInitShape<
    typeof BatchReadBlobsResponse_ResponseSchema
  >;
  const contents = [randomBytes(10), new Uint8Array(5000).fill(65)];
  const digests = contents.map(digestOf);
  const message = ({ hash, size }: Digest) => ({
    hash,
    sizeBytes: BigInt(size),
  });
  const right: Response[] = contents.map((data, i) => ({
    digest: message(digests[i]!),
    data,
  }));
  const bomb = compress(new Uint8Array(32 << 20));
  const zipped = { ...right[1]!, data: compress(contents[1]!) };
  const compressor = Compressor_Value.ZSTD;
  const wrong: Response[][] = [
    right.slice(1), // one is left out
    [...right, right[0]!], // one is twice
    [...right, { digest: message(digestOf(randomBytes(9))), data: bomb }],
    [...right, { data: bomb }],
    [{ ...right[0]!, data: randomBytes(10) }, right[1]!],
    [right[0]!, { ...zipped, compressor, data: bomb }],
    [right[0]!, { ...zipped, compressor, data: zipped.data.slice(0, -1) }],
    [right[0]!, { ...zipped, compressor: 7 as Compressor_Value }],
    [right[0]!, zipped], // and doesn't say so
  ];
  let responses: Response[] = [];
  await using server = await GrpcServer.start((router) =>
    router.service(ContentAddressableStorage, {
      batchReadBlobs: () => ({ responses }),
    })
  );
  using engine = new GrpcEngine(server.url);
  for (responses of wrong) {
    const sink = new MemorySink();
    await rejects(() => engine.download(digests, sink, call()), "wrong");
  }
  responses = [{ ...zipped, compressor }, right[0]!];
  const sink = new MemorySink();
  assertEquals(await engine.download(digests, sink, call()), []);
  assertEquals(sink.whole.size, 2);
});

Deno.test("GrpcEngine.download() takes no stream that is too long, too short, or another", async () => {
  const content = randomBytes(5_000_000);
  const digest = digestOf(content);
  const other = randomBytes(5_000_000);
  const bomb = compress(new Uint8Array(64 << 20));
  const bodies: [boolean, Uint8Array[]][] = [
    [false, [content, new Uint8Array(1)]],
    [false, [content.subarray(1)]],
    [false, []],
    [false, [other]],
    [true, [compress(content), compress(new Uint8Array(1))]],
    [true, [compress(content).subarray(0, 4_000_000)]],
    [true, [bomb]],
    [true, [content]],
  ];
  for (const [isCompressed, body] of bodies) {
    const read = async function* () {
      await Promise.resolve();
      for (const data of body) yield { data };
    };
    await using server = await GrpcServer.start(
      (router) => router.service(ByteStream, { read }),
      isCompressed ? { supportedCompressors: ZSTD } : {},
    );
    using engine = new GrpcEngine(server.url);
    await engine.open(call());
    const sink = new MemorySink();
    await rejects(() => engine.download([digest], sink, call()), "wrong");
    assertEquals(sink.streamed.size, 0);
  }
});

Deno.test("GrpcEngine.upload() takes no write for done that was not", async () => {
  const source = new MemorySource();
  const [digest] = source.add(randomBytes(5_000_000)) as [Digest];
  for (const [committedSize, isRight] of [[4_999_999n, false], [-1n, true]]) {
    const names: string[] = [];
    await using server = await GrpcServer.start((router) =>
      router.service(ByteStream, {
        write: async (requests) => {
          for await (const { resourceName } of requests) {
            if (resourceName) names.push(resourceName);
          }
          return { committedSize: committedSize as bigint };
        },
      })
    );
    using engine = new GrpcEngine(`${server.url}/in/stance`);
    const attempt = () => engine.upload([{ digest }], source, call());
    if (isRight) await attempt();
    else await rejects(attempt, "wrong");
    const name = `in/stance/uploads/UUID/blobs/${digest.hash}/5000000`;
    const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
    assertEquals(names.map((it) => it.replace(uuid, "UUID")), [name]);
  }
});

Deno.test("GrpcEngine has at most four calls under way", async () => {
  let [now, most] = [0, 0];
  await using server = await GrpcServer.start((router) =>
    router.service(ActionCache, {
      getActionResult: async () => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => setTimeout(resolve, 10));
        now--;
        return {};
      },
    })
  );
  using engine = new GrpcEngine(server.url);
  await Promise.all(
    Array.from(
      { length: 20 },
      () => engine.getAction(digestOf(randomBytes(9)), call()),
    ),
  );
  assertEquals(most, 4);
});
