import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { openServer } from "../support/open_server.ts";
import { openRemote } from "../../lib/remote/remote.ts";
import { doctor, type RemoteOptions } from "../../lib/remote/remote.ts";
import { HttpCache } from "../support/http_cache.ts";
import { TempDir } from "../support/temp_dir.ts";
import { DirectorySink } from "../support/trees.ts";

Deno.test("openRemote() names a server without user, password and query", () => {
  for (
    const [url, name, options] of [
      [
        "https://me:secret@cache.example/path/?token=secret",
        "https://cache.example/path",
      ],
      [
        "s3://bucket/prefix?endpoint=https://s3.example",
        "s3://bucket/prefix",
        {},
      ],
      [
        "grpcs://me:secret@cache.example:8980/instance",
        "grpcs://cache.example:8980/instance",
      ],
      ["http://[::1]:8080", "http://[::1]:8080"],
      ["http://cache.example/", "http://cache.example", { insecure: true }],
    ] as [string, string, RemoteOptions?][]
  ) {
    using remote = openServer(url, options);
    assertEquals([remote.name, remote.mode], [name, "read"]);
  }
});

Deno.test("openRemote() refuses invalid URLs and options in one line, without secrets", () => {
  const https = "https://cache.example/";
  const pem = "-----BEGIN CERTIFICATE-----";
  for (
    const [url, options, why] of [
      ["secret", {}, "url must be"],
      ["", {}, "url must be"],
      ["https://me:secret@", {}, "url must be"],
      ["ftp://me:secret@cache.example", {}, "not ftp:"],
      ["file:///secret", {}, "not file:"],
      [5, {}, "url must be"],
      [undefined, {}, "url must be"],
      ["s3:///prefix", {}, "must have a bucket"],
      ["grpcs:///x", {}, "must have a host"],
      [`${https}#secret`, {}, "no fragment"],
      ["http://cache.example/", {}, "another machine"],
      ["grpc://10.0.0.1:8980", {}, "another machine"],
      ["s3://b?endpoint=http://minio.example:9000", {}, "another machine"],
      ["s3://b?endpoint=file:///secret", {}, "endpoint"],
      ["s3://id:secret@bucket", {}, "not used"],
      ["http://me:secret@cache.example/", { insecure: true }, "clear text"],
      [
        "http://cache.example/",
        { insecure: true, headers: "a: secret" },
        "clear text",
      ],
      [https, null, "options must be"],
      [https, { mode: "write" }, "mode must be"],
      [https, { insecure: "yes" }, "insecure must be"],
      [https, { headers: "secret" }, "Line 1 of headers"],
      [https, { headers: { secret: "secret" } }, "headers must be"],
      [https, { netrc: ["secret"] }, "netrc must be"],
      [https, { credentialHelper: "" }, "must not be empty"],
      [https, { ca: "secret" }, "ca must be a PEM"],
      [https, { cert: pem }, "cert and key"],
      [https, { key: pem }, "cert and key"],
      [https, { cert: pem, key: "/path/secret" }, "key must be a PEM"],
      [https, { sign: "secret" }, "sign: This is no private"],
      [https, { trust: ["secret"] }, "trust: This is no public"],
      [https, { trust: "secret" }, "trust must be"],
      [https, { folder: "" }, "folder must be"],
      [https, { connectTimeout: "1" }, "connectTimeout must be"],
      [
        https,
        { aws: { secretAccessKey: ["secret"] } },
        "aws.secretAccessKey must be",
      ],
    ] as [string, RemoteOptions, string][]
  ) {
    const { message } = assertThrows(
      () => openRemote(url, options),
      TypeError,
      why,
      `${url} ${JSON.stringify(options)}`,
    );
    if (why !== "trust must be") {
      assertEquals(
        /secret|\n/.test(message.replace("secretAccessKey", "")),
        false,
        message,
      );
    }
  }
});

Deno.test("openRemote() connects to nothing, nor does a remote that is closed", async () => {
  await using dir = TempDir.make();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let connections = 0;
  const accepting = (async () => {
    for await (const connection of listener) {
      connections++;
      connection.close();
    }
  })();
  const remote = openServer(`http://127.0.0.1:${listener.addr.port}`);
  remote[Symbol.dispose]();
  const sink = new DirectorySink(dir.at("sink"));
  const key = { bucket: "b", key: "k" };
  await assertRejects(() => remote.pull(key, sink), Error, "is closed");
  listener.close();
  await accepting;
  assertEquals(connections, 0);
});

Deno.test("doctor() says what can be done with a server", async () => {
  await using dir = TempDir.make();
  await using server = new HttpCache(dir.at("server"));
  const health = async (options: RemoteOptions) => {
    using remote = openServer(server.url, options);
    return await doctor(remote);
  };
  const read = await health({});
  assertEquals([read.kind, read.name], ["http", server.url]);
  assertEquals([read.reads, read.writes], [true, false]);
  assert(read.roundTripMs! > 0);
  assertEquals(read.uploadBytesPerSecond, undefined);
  assertEquals(server.take(), { "GET /ac": 5 });

  const write = await health({ mode: "read-write" });
  assertEquals([write.reads, write.writes], [true, true]);
  assert(write.uploadBytesPerSecond! > 0 && write.downloadBytesPerSecond! > 0);
  assertEquals(write.reason, undefined);

  server.answer = ({ method }) =>
    method === "PUT" ? new Response(null, { status: 403 }) : undefined;
  const refused = await health({ mode: "read-write" });
  assertEquals([refused.reads, refused.writes], [true, false]);
  assert(refused.reason!.includes("403"));

  server.answer = () => new Response(null, { status: 401 });
  const unknown = await health({ mode: "read-write" });
  assertEquals([unknown.reads, unknown.writes], [false, false]);
  assert(unknown.reason!.startsWith(server.url));
});

Deno.test("doctor() asks a server that was down, and takes it up again", async () => {
  await using dir = TempDir.make();
  const folder = dir.at("remote-v1");
  const key = { bucket: "b", key: "k" };
  const sink = new DirectorySink(dir.at("sink"));
  let port: number;
  {
    await using server = new HttpCache(dir.at("server"));
    port = Number(new URL(server.url).port);
  }
  const url = `http://127.0.0.1:${port}`;
  using remote = openServer(url, { folder });
  assertEquals((await remote.pull(key, sink)).report.outcome, "down");
  const down = await doctor(remote);
  assertEquals([down.reads, down.writes], [false, false]);
  assert(down.reason!.startsWith(url));
  await using _server = new HttpCache(dir.at("server"), port);
  assertEquals((await remote.pull(key, sink)).report.outcome, "off");
  assertEquals((await doctor(remote)).reads, true);
  assertEquals((await remote.pull(key, sink)).report.outcome, "miss");
});

Deno.test("doctor() takes only what openRemote() gave", () => {
  using remote = openServer("https://cache.example/");
  assertThrows(() => doctor({ ...remote }), TypeError, "openRemote()");
});
