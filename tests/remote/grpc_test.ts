import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Digest, RemoteError } from "../../lib/remote/engine.ts";
import { GrpcEngine } from "../../lib/remote/grpc.ts";
import { ActionResultSchema } from "../../lib/remote/messages_pb.ts";
import { test } from "../support/needs.ts";
import { Relay } from "../support/relay.ts";
import {
  digestOf,
  MemorySink,
  MemorySource,
  randomBytes,
} from "../support/memory_contents.ts";
import { startBazelRemote } from "../support/servers.ts";

/** However slow this machine is. */
const PATIENT = { connectTimeout: 60_000, idleTimeout: 60_000 };

const NEEDS = ["bazel-remote"];
const ACTION: Digest = { hash: "a".repeat(64), size: 100 };
const GONE: Digest = { hash: "b".repeat(64), size: 5 };
const LARGE_GONE: Digest = { hash: "c".repeat(64), size: 50_000_000 };

/** A call that nobody stops. */
function call(): { signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

/** An action result that names a file. */
function resultOf(
  digest: Digest,
  path = "tree",
): Uint8Array<ArrayBuffer> {
  const { hash, size } = digest;
  const files = [{ path, digest: { hash, sizeBytes: BigInt(size) } }];
  return new Uint8Array(toBinary(
    ActionResultSchema,
    create(ActionResultSchema, { outputFiles: files }),
  ));
}

test("GrpcEngine.open() asks what a server can do", NEEDS, async () => {
  await using server = await startBazelRemote();
  using engine = new GrpcEngine(server.grpc, PATIENT);
  assertEquals(engine.layout, "files");
  assertEquals(await engine.open(call()), { update: true });
  assertEquals(engine.counts.calls, 1);
  assert(engine.counts.receivedBytes > 0);
});

test(
  "GrpcEngine.getAction() gives what putAction() has put, and undefined for others",
  NEEDS,
  async () => {
    await using server = await startBazelRemote();
    using engine = new GrpcEngine(server.grpc, PATIENT);
    await engine.open(call());
    assertEquals(await engine.getAction(ACTION, call()), undefined);
    const source = new MemorySource();
    const [digest] = source.add(randomBytes(10)) as [Digest];
    await engine.upload([{ digest }], source, call());
    await engine.putAction(ACTION, resultOf(digest), call());
    const found = await engine.getAction(ACTION, call());
    const { outputFiles } = fromBinary(ActionResultSchema, found!);
    assertEquals(outputFiles.map(({ path }) => path), ["tree"]);
    assertEquals(outputFiles[0]!.digest!.hash, digest.hash);
    await engine.putAction(ACTION, resultOf(digest, "again"), call());
    const again = fromBinary(
      ActionResultSchema,
      (await engine.getAction(ACTION, call()))!,
    );
    assertEquals(again.outputFiles.map(({ path }) => path), ["again"]);
  },
);

test(
  "GrpcEngine.upload() and download() move many small and some large contents",
  NEEDS,
  async (t) => {
    await using server = await startBazelRemote();
    using engine = new GrpcEngine(server.grpc, PATIENT);
    await engine.open(call());
    const source = new MemorySource();
    const text = new TextEncoder().encode("the same again ".repeat(400_000));
    const small = Array.from(
      { length: 1500 },
      (_, i) => i % 2 ? randomBytes(i * 3) : text.slice(i, i * 3),
    );
    const [noContent] = source.add(new Uint8Array()) as [Digest];
    const digests = source.add(
      ...small,
      randomBytes(1_900_000),
      randomBytes(5_000_000),
      randomBytes(40_000_000),
      text,
    );
    digests.push(noContent);
    const names = [...new Set(digests.map(({ hash }) => hash))].sort();

    await t.step("missing: all but the empty one", async () => {
      const missing = await engine.missing([...digests, ...digests], call());
      const found = missing.map(({ hash }) => hash).sort();
      assertEquals(found, names.filter((name) => name !== noContent.hash));
    });
    await t.step("uploaded: one is in memory", async () => {
      const uploads = digests.map((digest, i) =>
        i % 3 ? { digest } : { digest, content: source.read(digest) }
      );
      let bytes = 0;
      const onBytes = (more: number) => bytes += more;
      const { calls } = engine.counts;
      await engine.upload(uploads, source, { ...call(), onBytes });
      assert(bytes > 47_000_000, `${bytes}`);
      // 1.7 MB of small ones, and four streams.
      assert(
        engine.counts.calls - calls <= 7,
        `${engine.counts.calls - calls}`,
      );
      assertEquals(await engine.missing(digests, call()), []);
    });
    await t.step("downloaded: those that aren't there are told", async () => {
      const sink = new MemorySink();
      const asked = [GONE, ...digests, LARGE_GONE];
      const gone = await engine.download(asked, sink, call());
      assertEquals(gone.map(({ hash }) => hash).sort(), [
        GONE.hash,
        LARGE_GONE.hash,
      ]);
      const all = [...sink.whole, ...sink.streamed].sort();
      assertEquals(all, names);
      assertEquals(sink.streamed.size, 3);
    });
    await t.step("uploaded again: the server ends writes early", async () => {
      const { sentBytes } = engine.counts;
      const uploads = digests.map((digest) => ({ digest }));
      for (let i = 0; i < 3; i++) await engine.upload(uploads, source, call());
      const more = engine.counts.sentBytes - sentBytes;
      assert(more < 3 * 30_000_000, `${more} bytes were sent`);
      assertEquals(await engine.missing(digests, call()), []);
    });
  },
);

test(
  "GrpcEngine reads what another wrote, by the name of an instance",
  NEEDS,
  async () => {
    await using server = await startBazelRemote();
    const source = new MemorySource();
    const digests = source.add(randomBytes(100), randomBytes(6_000_000));
    {
      using engine = new GrpcEngine(`${server.grpc}/some/instance%20name/`);
      await engine.open(call());
      const uploads = digests.map((digest) => ({ digest }));
      await engine.upload(uploads, source, call());
      await engine.putAction(ACTION, resultOf(digests[0]!), call());
    }
    using engine = new GrpcEngine(`${server.grpc}/some/instance%20name`);
    // Without asking what it can do: nothing is compressed then.
    assert(await engine.getAction(ACTION, call()));
    const sink = new MemorySink();
    assertEquals(await engine.download(digests, sink, call()), []);
    assertEquals([sink.whole.size, sink.streamed.size], [1, 1]);
  },
);

test(
  "GrpcEngine goes on where a download was cut, compressed or not",
  NEEDS,
  async () => {
    await using server = await startBazelRemote();
    await using relay = Relay.start({ target: server.grpcPort });
    const source = new MemorySource();
    const digests = source.add(randomBytes(12_000_000));
    using direct = new GrpcEngine(server.grpc, PATIENT);
    await direct.upload([{ digest: digests[0]! }], source, call());
    for (const opened of [true, false]) {
      using engine = new GrpcEngine(`grpc://127.0.0.1:${relay.port}`);
      if (opened) await engine.open(call());
      const { receivedBytes } = engine.counts;
      relay.cutAfter = 5_000_000;
      const sink = new MemorySink();
      assertEquals(await engine.download(digests, sink, call()), []);
      assertEquals(sink.streamed.size, 1);
      const more = engine.counts.receivedBytes - receivedBytes;
      assert(more < 16_000_000, `${more} bytes came`);
    }
  },
);

test("GrpcEngine finds a server again that was restarted", NEEDS, async () => {
  await using server = await startBazelRemote();
  await using relay = Relay.start({ target: server.grpcPort });
  using engine = new GrpcEngine(`grpc://127.0.0.1:${relay.port}`);
  await engine.open(call());
  // What a client sees of it: connections that end, and then none that stand.
  relay.refuse();
  await rejects(() => engine.getAction(ACTION, call()), "down");
  relay.resume();
  assertEquals(await engine.getAction(ACTION, call()), undefined);
  // Killed, and nobody asked while it was away.
  relay.cut();
  assertEquals(await engine.getAction(ACTION, call()), undefined);
  await server.process.stop();
  await rejects(() => engine.getAction(ACTION, call()), "down");
});

test("GrpcEngine prints how fast one stream is at 20 ms", NEEDS, async () => {
  await using server = await startBazelRemote();
  await using relay = Relay.start({ target: server.grpcPort, latency: 10 });
  const source = new MemorySource();
  const digests = source.add(randomBytes(16_000_000));
  using engine = new GrpcEngine(`grpc://127.0.0.1:${relay.port}`);
  await engine.open(call());
  const from = performance.now();
  await engine.upload([{ digest: digests[0]! }], source, call());
  const between = performance.now();
  const sink = new MemorySink();
  assertEquals(await engine.download(digests, sink, call()), []);
  const to = performance.now();
  const speed = (ms: number) => `${(16_000 / ms).toFixed(0)} MB/s`;
  // deno-lint-ignore no-console -- of interest, and never the same
  console.log(`up ${speed(between - from)}, down ${speed(to - between)}`);
});

test(
  "GrpcEngine ends a call with the signal's reason, wherever it is",
  NEEDS,
  async () => {
    await using server = await startBazelRemote();
    await using relay = Relay.start({ target: server.grpcPort, latency: 10 });
    const source = new MemorySource();
    const digests = source.add(randomBytes(30_000_000), randomBytes(1000));
    const uploads = digests.map((digest) => ({ digest }));
    using direct = new GrpcEngine(server.grpc, PATIENT);
    await direct.upload(uploads, source, call());
    using engine = new GrpcEngine(`grpc://127.0.0.1:${relay.port}`);
    await engine.open(call());
    const reason = new RangeError("enough");
    const stopped = AbortSignal.abort(reason);
    await assertRejects(() => engine.open({ signal: stopped }), RangeError);
    const sink = new MemorySink();
    const other = source.add(randomBytes(30_000_000));
    const jobs = [
      (it: Call) => engine.download(digests, sink, it),
      (it: Call) => engine.upload([{ digest: other[0]! }], source, it),
    ];
    for (const job of jobs) {
      const controller = new AbortController();
      const onBytes = (bytes: number) => {
        if (bytes > 100_000) controller.abort(reason);
      };
      const { signal } = controller;
      await assertRejects(() => job({ signal, onBytes }), RangeError, "enough");
    }
    relay.stall();
    const controller = new AbortController();
    const { signal } = controller;
    const stalled = engine.getAction(ACTION, { signal });
    setTimeout(() => controller.abort(reason), 20);
    await assertRejects(() => stalled, RangeError, "enough");
    relay.resume();
    // The connection is as good as before.
    assertEquals(await engine.getAction(ACTION, call()), undefined);
  },
);

test(
  "GrpcEngine passes on what sink and source throw, and stops",
  NEEDS,
  async () => {
    await using server = await startBazelRemote();
    using engine = new GrpcEngine(server.grpc, PATIENT);
    await engine.open(call());
    const source = new MemorySource();
    const digests = source.add(
      randomBytes(10),
      randomBytes(20_000_000),
      randomBytes(9_000_000),
    );
    const uploads = digests.map((digest) => ({ digest }));
    await assertRejects(
      () => engine.upload([...uploads, { digest: GONE }], source, call()),
      Deno.errors.NotFound,
    );
    await assertRejects(
      () => engine.upload([{ digest: LARGE_GONE }], source, call()),
      Deno.errors.NotFound,
    );
    await engine.upload(uploads, source, call());
    const full = () => {
      throw new RangeError("full");
    };
    const first = async (_: Digest, content: AsyncIterable<Uint8Array>) => {
      for await (const _ of content) full();
    };
    const sinks = [
      { has: () => false, put: full, stream: first },
      { has: () => false, put: () => {}, stream: first },
      // This one does not even begin to read.
      { has: () => false, put: () => {}, stream: () => Promise.reject(full) },
    ];
    for (const sink of sinks.slice(0, 2)) {
      await assertRejects(
        () => engine.download(digests, sink, call()),
        RangeError,
        "full",
      );
    }
    const thrown = await engine.download(digests, sinks[2]!, call())
      .catch((error) => error);
    assertEquals(thrown, full);
  },
);

test("GrpcEngine says that wrong content is the server's", NEEDS, async () => {
  await using server = await startBazelRemote();
  using engine = new GrpcEngine(server.grpc, PATIENT);
  const source = new MemorySource();
  const digests = source.add(randomBytes(10), randomBytes(5_000_000));
  const uploads = digests.map((digest) => ({ digest }));
  await engine.upload(uploads, source, call());
  for (const digest of digests) {
    const sink = new MemorySink();
    const other = digestOf(randomBytes(3));
    await rejects(() =>
      engine.download([digest], {
        has: () => false,
        put: (_, content) => sink.put(other, content),
        stream: (_, content) => sink.stream(other, content),
      }, call()), "wrong");
  }
});

test(
  "GrpcEngine lets a server ask for a password, and does not show it",
  NEEDS,
  async () => {
    const user = { name: "writer", password: "its-password" };
    await using server = await startBazelRemote({ user });
    const source = new MemorySource();
    const digests = source.add(randomBytes(10), randomBytes(5_000_000));
    const uploads = digests.map((digest) => ({ digest }));
    const header = (password: string) => ({
      headers: { authorization: `Basic ${btoa(`writer:${password}`)}` },
    });
    for (const options of [{}, header("not-its-password")]) {
      using engine = new GrpcEngine(server.grpc, options);
      for (const upload of uploads) {
        const error = await rejects(
          () => engine.upload([upload], source, call()),
          "refused",
        );
        assert(!Deno.inspect(error, { depth: 9 }).includes("its-password"));
        assert(!Deno.inspect(error, { depth: 9 }).includes("Basic"));
      }
    }
    using engine = new GrpcEngine(server.grpc, header(user.password));
    await engine.upload(uploads, source, call());
    using reader = new GrpcEngine(server.grpc, PATIENT);
    const sink = new MemorySink();
    assertEquals(await reader.download(digests, sink, call()), []);
  },
);

Deno.test("GrpcEngine() takes addresses of gRPC, and no others", () => {
  for (const url of ["https://127.0.0.1", "grpc:", "grpcs:///name"]) {
    assertThrows(() => new GrpcEngine(url), TypeError);
  }
  using _ = new GrpcEngine("grpc://127.0.0.1:1/name");
});

type Call = {
  signal: AbortSignal;
  onBytes?: (bytes: number) => void;
};

async function rejects(
  call: () => Promise<unknown>,
  kind: string,
): Promise<Error> {
  const error = await assertRejects(call, RemoteError);
  assertEquals(error.kind, kind, error.message);
  return error;
}
