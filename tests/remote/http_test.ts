import { assert, assertEquals } from "@std/assert";
import { HttpEngine } from "../../lib/remote/http.ts";
import { makeCertificates } from "../support/certificates.ts";
import { test } from "../support/needs.ts";
import { Relay } from "../support/relay.ts";
import {
  digestOf,
  MemorySink,
  MemorySource,
  randomContent,
} from "../support/remote_contents.ts";
import { assertKeeps, resultOf } from "../support/remote_contract.ts";
import { refusal, weather } from "../support/remote_errors.ts";
import { startBazelRemote, startNginx } from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";

const { signal } = new AbortController();
const call = { signal };

test("HttpEngine keeps all in nginx", ["nginx"], async () => {
  await using server = await startNginx();
  using engine = new HttpEngine(server.url);
  await assertKeeps(engine);
});

test("HttpEngine keeps all in bazel-remote", ["bazel-remote"], async () => {
  await using server = await startBazelRemote();
  using engine = new HttpEngine(`${server.http}/`);
  await assertKeeps(engine);
});

test(
  "HttpEngine keeps all in a bazel-remote that knows it by its certificate",
  [
    "bazel-remote",
    "openssl",
  ],
  async () => {
    await using dir = TempDir.make();
    const tls = await makeCertificates(dir.path);
    await using server = await startBazelRemote({ tls, mutual: true });
    {
      const { ca, cert, key } = tls;
      using engine = new HttpEngine(server.http, { ca, cert, key });
      await assertKeeps(engine);
    }
    const action = digestOf(randomContent(9));
    using stranger = new HttpEngine(server.http, { ca: tls.ca });
    await refusal(() => stranger.getAction(action, call), /401|certificate/i);
    using believer = new HttpEngine(server.http);
    await refusal(() => believer.getAction(action, call), /certificate/i);
    // By no URL that says so.
    using plain = new HttpEngine(server.http.replace("https", "http"));
    await refusal(() => plain.getAction(action, call), /400/);
  },
);

test("HttpEngine writes to bazel-remote with a password only", [
  "bazel-remote",
], async () => {
  const user = { name: "writer", password: "s3cret:word" };
  await using server = await startBazelRemote({ user });
  const header = (password: string) => ({
    headers: { authorization: `Basic ${btoa(`writer:${password}`)}` },
  });
  {
    using engine = new HttpEngine(server.http, header("s3cret:word"));
    await assertKeeps(engine);
  }
  const pack = randomContent(8 << 20);
  const source = new MemorySource();
  const digest = source.add(pack);
  const guess = header("s3cret:guess");
  for (const options of [{}, guess]) {
    using engine = new HttpEngine(server.http, options);
    const upload = () => engine.upload([{ digest }], source, call);
    const error = await refusal(upload, /401/);
    const shown = Deno.inspect(error, { depth: 9 });
    assert(!shown.includes(guess.headers.authorization));
    assertEquals(source.open, 0);
    const action = digestOf(pack.subarray(0, 9));
    const put = () => engine.putAction(action, resultOf([]), call);
    await refusal(put, /401/);
  }
  using reader = new HttpEngine(server.http);
  assertEquals(await reader.missing([digest], call), [digest]);
});

test("HttpEngine is refused at a door for reading", ["nginx"], async () => {
  await using server = await startNginx();
  const source = new MemorySource();
  const [small, large] = [10, 8 << 20].map((it) =>
    source.add(randomContent(it))
  );
  using engine = new HttpEngine(server.readOnlyUrl);
  for (const digest of [small!, large!]) {
    const upload = () => engine.upload([{ digest }], source, call);
    await refusal(upload, /403/);
  }
  assertEquals(source.open, 0);
  using writer = new HttpEngine(server.url);
  await writer.upload([{ digest: small! }], source, call);
  const sink = new MemorySink();
  assertEquals(await engine.download([small!], sink, call), []);
  assertEquals(sink.byHash.size, 1);
});

test("HttpEngine.range() asks a server without ranges once for a pack", [
  "bazel-remote",
], async () => {
  await using server = await startBazelRemote();
  using engine = new HttpEngine(server.http);
  const packs = [1, 2, 3].map(() => randomContent(1 << 20));
  const uploads = packs.map((content) => ({
    digest: digestOf(content),
    content,
  }));
  await engine.upload(uploads, new MemorySource(), call);
  const before = engine.counts.calls;
  const parts = await Promise.all(
    uploads.flatMap(({ digest, content }) =>
      Array.from({ length: 50 }, async (_, at) => {
        const [from, to] = [at * 1000, at * 1000 + 999];
        const part = await engine.range({ digest, from, to }, call);
        return digestOf(part!).hash ===
          digestOf(content.subarray(from, to)).hash;
      })
    ),
  );
  assert(parts.every((it) => it));
  assertEquals(engine.counts.calls - before, 3);
  // And later, the latest of them.
  const { digest } = uploads[2]!;
  await engine.range({ digest, from: 1, to: 3 }, call);
  assertEquals(engine.counts.calls - before, 3);
});

test("HttpEngine.range() fetches nothing but the range where the server can", [
  "nginx",
], async () => {
  await using server = await startNginx();
  using engine = new HttpEngine(server.url);
  const content = randomContent(8 << 20);
  const digest = digestOf(content);
  await engine.upload([{ digest, content }], new MemorySource(), call);
  const before = engine.counts.receivedBytes;
  const ranges = [[10, 20], [4000, 5000], [1_000_000, 1_000_001]] as const;
  await Promise.all(
    ranges.map(([from, to]) => engine.range({ digest, from, to }, call)),
  );
  assertEquals(engine.counts.receivedBytes - before, 10 + 1000 + 1);
});

test("HttpEngine goes on after bazel-remote's connections were cut", [
  "bazel-remote",
], async () => {
  await using server = await startBazelRemote();
  await using relay = Relay.start({ target: server.httpPort });
  using engine = new HttpEngine(`http://127.0.0.1:${relay.port}`);
  const content = randomContent(6 << 20);
  const digest = digestOf(content);
  await engine.upload([{ digest, content }], new MemorySource(), call);
  // Between two calls, and in the middle of one.
  relay.cut();
  relay.cutAfter = 3 << 20;
  const sink = new MemorySink();
  assertEquals(await engine.download([digest], sink, call), []);
  assertEquals(sink.byHash.size, 1);
  relay.cutAfter = 3 << 20;
  const range = { digest, from: 1, to: 5 << 20 };
  assertEquals((await engine.range(range, call))?.length, (5 << 20) - 1);
  relay.refuse();
  await weather(() => engine.download([digest], sink, call), /refused/i);
  relay.resume();
  assertEquals(await engine.missing([digest], call), []);
});

test("HttpEngine leaves a server alone that falls silent", [
  "bazel-remote",
], async () => {
  await using server = await startBazelRemote();
  await using relay = Relay.start({ target: server.httpPort });
  using engine = new HttpEngine(`http://127.0.0.1:${relay.port}`, {
    idleTimeout: 1_000,
  });
  const digest = digestOf(randomContent(9));
  assertEquals(await engine.missing([digest], call), [digest]);
  relay.stall();
  const { calls } = engine.counts;
  await weather(() => engine.missing([digest], call), /not a byte in 1 s/);
  assertEquals(engine.counts.calls, calls + 1);
  const source = new MemorySource();
  const large = source.add(randomContent(32 << 20));
  await weather(
    () => engine.upload([{ digest: large }], source, call),
    /not a byte in/,
  );
  assertEquals(source.open, 0);
  relay.resume();
  assertEquals(await engine.missing([digest], call), [digest]);
});

test("HttpEngine needs the same few connections again", ["nginx"], async () => {
  await using server = await startNginx();
  await using relay = Relay.start({ target: server.port });
  using engine = new HttpEngine(`http://127.0.0.1:${relay.port}`);
  const digests = Array.from({ length: 200 }, () => digestOf(randomContent(9)));
  assertEquals((await engine.missing(digests, call)).length, 200);
  for (const it of digests.slice(0, 50)) await engine.getAction(it, call);
  const ranges = digests.map((digest) => ({ digest, from: 1, to: 2 }));
  await Promise.all(ranges.map((it) => engine.range(it, call)));
  assert(relay.connections <= 16, `${relay.connections} connections`);
});
