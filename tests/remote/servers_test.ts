import { assertEquals, assertRejects } from "@std/assert";
import { makeCertificates } from "../support/certificates.ts";
import { test } from "../support/needs.ts";
import { Relay } from "../support/relay.ts";
import {
  basic,
  startBazelRemote,
  startGofakes3,
  startNginx,
  startVersitygw,
} from "../support/servers.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Of `hello\n`. */
const HELLO =
  "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

async function status(
  url: string,
  { body, client, headers = {} }: {
    body?: string;
    client?: Deno.HttpClient;
    headers?: Record<string, string>;
  } = {},
): Promise<number> {
  const response = await fetch(url, {
    method: body === undefined ? "GET" : "PUT",
    headers,
    ...body !== undefined && { body },
    ...client && { client },
  });
  await response.body?.cancel();
  return response.status;
}

test("startNginx() keeps what is put, behind a door where nothing can be", [
  "nginx",
], async () => {
  await using server = await startNginx();
  const body = "hello\n";
  assertEquals(await status(`${server.url}/cas/${HELLO}`), 404);
  assertEquals(
    await status(`${server.readOnlyUrl}/cas/${HELLO}`, { body }),
    403,
  );
  assertEquals(await status(`${server.url}/cas/${HELLO}`, { body }), 201);
  assertEquals(await status(`${server.readOnlyUrl}/cas/${HELLO}`), 200);
  assertEquals(Deno.readTextFileSync(`${server.files}/cas/${HELLO}`), body);
});

test("startBazelRemote() lets those write who have the password", [
  "bazel-remote",
], async () => {
  const user = { name: "writer", password: "its password" };
  await using server = await startBazelRemote({ user });
  const url = `${server.http}/cas/${HELLO}`;
  const body = "hello\n";
  const headers = { authorization: basic(user) };
  assertEquals(await status(url, { body }), 401);
  assertEquals(await status(url, { body, headers }), 200);
  assertEquals(await status(url), 200);
});

test("startBazelRemote() asks for a client's certificate when it is mutual", [
  "bazel-remote",
  "openssl",
], async () => {
  await using dir = TempDir.make();
  const tls = await makeCertificates(dir.path);
  await using server = await startBazelRemote({ tls, mutual: true });
  const url = `${server.http}/cas/${HELLO}`;
  const caCerts = [tls.ca];
  {
    using client = Deno.createHttpClient({ caCerts });
    assertEquals(await status(url, { client }), 401);
  }
  using client = Deno.createHttpClient({
    caCerts,
    cert: tls.cert,
    key: tls.key,
  });
  assertEquals(await status(url, { client }), 404);
});

test("startGofakes3() has a bucket", ["gofakes3"], async () => {
  await using server = await startGofakes3();
  assertEquals(await status(`${server.endpoint}/cache/x`), 404);
  assertEquals(await status(`${server.endpoint}/cache/x`, { body: "x" }), 200);
});

test("startVersitygw() takes nothing that is not signed", [
  "versitygw",
], async () => {
  await using server = await startVersitygw();
  assertEquals(await status(`${server.endpoint}/cache/x`, { body: "x" }), 403);
});

test("Relay counts, delays, cuts, stalls and refuses", ["net"], async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("x".repeat(100_000)),
  );
  await using relay = Relay.start({ target: server.addr.port, latency: 20 });
  const url = `http://127.0.0.1:${relay.port}`;
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const headers = { "accept-encoding": "identity" };
  const ask = (signal: AbortSignal | null = null) =>
    fetch(url, { client, signal, headers }).then((it) => it.text());

  assertEquals((await ask()).length, 100_000);
  assertEquals(relay.connections, 1);
  relay.cutAfter = 50_000;
  await assertRejects(() => ask());
  assertEquals((await ask()).length, 100_000);

  relay.stall();
  await assertRejects(() => ask(AbortSignal.timeout(300)));
  relay.resume();
  relay.refuse();
  await assertRejects(() => ask());
  relay.resume();
  assertEquals((await ask()).length, 100_000);
});
