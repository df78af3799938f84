import { assert, assertEquals, assertThrows } from "@std/assert";
import { RemoteError } from "../../lib/remote/engine.ts";
import { locateBucket, s3Engine } from "../../lib/remote/s3.ts";
import { makeCertificates } from "../support/certificates.ts";
import { test } from "../support/needs.ts";
import {
  digestOf,
  MemorySink,
  MemorySource,
  randomContent,
} from "../support/remote_contents.ts";
import { assertKeeps, resultOf } from "../support/remote_contract.ts";
import { refusal, weather } from "../support/remote_errors.ts";
import { startGofakes3, startVersitygw } from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";

const call = { signal: new AbortController().signal };

test("s3Engine() keeps all in gofakes3", ["gofakes3"], async () => {
  await using server = await startGofakes3();
  using engine = s3Engine(server.url, { credentials: server });
  await assertKeeps(engine);
});

test("s3Engine() keeps all in versitygw, below the prefix", [
  "versitygw",
], async () => {
  await using server = await startVersitygw();
  using engine = s3Engine(server.url, { credentials: server });
  await assertKeeps(engine);
  const prefix = server.process.dir.at("buckets", "cache", "some", "where");
  const names = [...Deno.readDirSync(prefix)].map(({ name }) => name).sort();
  assertEquals(names, ["ac", "cas"]);
});

test("s3Engine() keeps all in versitygw by TLS", [
  "versitygw",
  "openssl",
], async () => {
  await using dir = TempDir.make();
  const tls = await makeCertificates(dir.path);
  await using server = await startVersitygw({ tls });
  const credentials = server;
  using engine = s3Engine(server.url, { credentials, ca: tls.ca });
  await assertKeeps(engine);
  using stranger = s3Engine(server.url, { credentials });
  const action = digestOf(randomContent(9));
  await refusal(() => stranger.getAction(action, call), /certificate/);
});

test("s3Engine() is refused with a wrong key, and doesn't tell it", [
  "versitygw",
], async () => {
  await using server = await startVersitygw();
  const { accessKeyId, secretAccessKey } = server;
  const source = new MemorySource();
  const digest = source.add(randomContent(4 << 20));
  for (
    const [credentials, code] of [
      [
        { accessKeyId, secretAccessKey: "s3cret-guess" },
        /SignatureDoesNotMatch/,
      ],
      [{ accessKeyId: "s3cret-id", secretAccessKey }, /XAdminUserNotFound/],
      [undefined, /403|AccessDenied/],
    ] as const
  ) {
    using engine = s3Engine(server.url, { ...credentials && { credentials } });
    const error = await refusal(() => engine.getAction(digest, call), code);
    assert(!Deno.inspect(error).includes("s3cret"));
    const upload = () => engine.upload([{ digest }], source, call);
    await refusal(upload, code);
    assertEquals(source.open, 0);
  }
});

test("s3Engine() names a bucket that does not exist", [
  "gofakes3",
  "versitygw",
], async () => {
  for (const start of [startGofakes3, startVersitygw]) {
    await using server = await start();
    const url = server.url.replace("s3://cache", "s3://no-such-bucket");
    using engine = s3Engine(url, { credentials: server });
    const action = digestOf(randomContent(9));
    await refusal(() => engine.getAction(action, call), /no such bucket/);
    const put = () => engine.putAction(action, resultOf([]), call);
    await refusal(put, /no such bucket/);
  }
});

test(
  "s3Engine() tries again when it is told to slow down",
  ["net"],
  async () => {
    let asked = 0;
    await using server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen() {},
    }, () => {
      asked++;
      const text = asked > 2 ? "result" : `<?xml version="1.0"?>
      <Error><Code>SlowDown</Code><Message>Please</Message></Error>`;
      return new Response(text, { status: asked > 2 ? 200 : 503 });
    });
    const endpoint = `http://127.0.0.1:${server.addr.port}`;
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    using engine = s3Engine(`s3://bucket?endpoint=${endpoint}`, {
      credentials,
    });
    const action = digestOf(randomContent(9));
    const result = await engine.getAction(action, call);
    assertEquals(new TextDecoder().decode(result), "result");
    assertEquals(asked, 3);
    asked = -9;
    await weather(() => engine.getAction(action, call), /503 \(SlowDown\)/);
  },
);

test(
  "s3Engine() says what a bucket of another region says",
  ["net"],
  async () => {
    const text = "<Error><Code>PermanentRedirect</Code></Error>";
    await using server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen() {},
    }, () => new Response(text, { status: 301 }));
    const endpoint = `http://127.0.0.1:${server.addr.port}`;
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    using engine = s3Engine(`s3://bucket?endpoint=${endpoint}`, {
      credentials,
    });
    const action = digestOf(randomContent(9));
    await refusal(
      () => engine.getAction(action, call),
      /301 \(PermanentRedirect\)/,
    );
  },
);

test(
  "s3Engine() signs each request, and the token with it",
  ["net"],
  async () => {
    const heard: Headers[] = [];
    const paths: string[] = [];
    await using server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      onListen() {},
    }, async (request) => {
      heard.push(request.headers);
      paths.push(new URL(request.url).pathname);
      await request.arrayBuffer();
      return new Response(null, {
        status: request.method === "GET" ? 404 : 200,
      });
    });
    const endpoint = `http://127.0.0.1:${server.addr.port}`;
    const credentials = {
      accessKeyId: "the-id",
      secretAccessKey: "the-secret",
      sessionToken: "the-token",
    };
    const address =
      `s3://bucket/some/where/?endpoint=${endpoint}&region=mars-1`;
    using engine = s3Engine(address, { credentials });
    const source = new MemorySource();
    const digest = source.add(randomContent(100));
    await engine.upload([{ digest }], source, call);
    const gone = await engine.download([digest], new MemorySink(), call);
    assertEquals(gone, [digest]);
    assertEquals(paths, Array(2).fill(`/bucket/some/where/cas/${digest.hash}`));
    for (const headers of heard) {
      const authorization = headers.get("authorization") ?? "";
      assert(/Credential=the-id\/\d{8}\/mars-1\/s3\//.test(authorization));
      assertEquals(headers.get("x-amz-security-token"), "the-token");
    }
    // In clear text it says what it sends.
    assertEquals(heard[0]!.get("x-amz-content-sha256"), digest.hash);
    assertEquals(heard[0]!.get("content-length"), "100");
  },
);

test("locateBucket() knows how buckets are addressed", [], () => {
  const where = (address: string, region?: string) => {
    const found = locateBucket(address, region);
    return [found.base.href, found.region];
  };
  assertEquals(where("s3://b/some/where/"), [
    "https://b.s3.us-east-1.amazonaws.com/some/where",
    "us-east-1",
  ]);
  assertEquals(where("s3://b", "eu-central-1"), [
    "https://b.s3.eu-central-1.amazonaws.com/",
    "eu-central-1",
  ]);
  assertEquals(where("s3://b.c/d?region=eu-west-3", "eu-central-1"), [
    "https://s3.eu-west-3.amazonaws.com/b.c/d",
    "eu-west-3",
  ]);
  assertEquals(
    where("s3://b/d?endpoint=https://s3.eu-north-1.amazonaws.com"),
    ["https://b.s3.eu-north-1.amazonaws.com/d", "eu-north-1"],
  );
  assertEquals(where("s3://b/d?endpoint=account.r2.cloudflarestorage.com"), [
    "https://account.r2.cloudflarestorage.com/b/d",
    "auto",
  ]);
  assertEquals(
    where("s3://b/d?endpoint=http://u:p@localhost:9000/minio/?x=y"),
    [
      "http://localhost:9000/minio/b/d",
      "us-east-1",
    ],
  );
  for (
    const it of [
      "s3://",
      "s3:///x",
      "https://b/c",
      "s3://b?endpoint=file:///x",
      "s3://b?endpoint=http://",
    ]
  ) assertThrows(() => locateBucket(it), RemoteError, undefined, it);
});
