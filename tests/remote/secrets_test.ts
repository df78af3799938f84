/** What is secret is nowhere to be seen, whatever a server does. */

import { assert, assertEquals } from "@std/assert";
import { HttpCache } from "../support/http_cache.ts";
import { Machine } from "../support/machine.ts";
import { test } from "../support/needs.ts";
import { freePorts } from "../support/server.ts";
import {
  startBazelRemote,
  startGofakes3,
  startVersitygw,
} from "../support/servers.ts";
import { runCli } from "../support/command.ts";
import { TempDir } from "../support/temp_dir.ts";

const SECRET = "s3cr/t:p@ss w0rd";

/** All ways in which it could be written down. */
function formsOf(secret: string, user = "me"): string[] {
  const text = new TextEncoder().encode(secret);
  const both = new TextEncoder().encode(`${user}:${secret}`);
  return [
    secret,
    encodeURIComponent(secret),
    text.toBase64(),
    both.toBase64(),
    text.toHex(),
    JSON.stringify(secret).slice(1, -1),
  ];
}

/** Texts of all files below. */
function textsIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, ...it }) => {
    const path = `${folder}/${name}`;
    if (it.isDirectory) return [path, ...textsIn(path)];
    return it.isFile ? [path, Deno.readTextFileSync(path)] : [path];
  });
}

/** Runs all commands, loudly and not, and looks for secrets in all that they leave. */
async function assertSecret(
  dir: TempDir,
  url: string,
  codes: (code: number) => boolean,
  { secrets = formsOf(SECRET), env = {}, more = [] }: {
    secrets?: string[];
    env?: Record<string, string>;
    more?: string[];
  } = {},
): Promise<void> {
  const number = [...Deno.readDirSync(dir.path)].length;
  const machine = new Machine(dir, `machine ${number}`, env);
  const tree = machine.at("tree");
  Deno.mkdirSync(tree);
  Deno.writeTextFileSync(`${tree}/a`, "content");
  const share = ["--remote", url, "--remote-mode", "read-write", ...more];
  const key = `key-${number}`;
  const command = ["--", "cp", `${tree}/a`, "{}"];
  const heard: string[] = [];
  const forget = () => {
    // So that the server is asked by each.
    const notes = `${machine.root}/remote-v1`;
    try {
      Deno.removeSync(notes, { recursive: true });
    } catch { /* nothing was noted */ }
  };
  const run = async (name: string, ...args: string[]) => {
    const ran = name === "doctor"
      ? await runCli([name, ...args], {
        env: { NETRC: dir.at("none"), REBUILD_CACHE_REMOTE_HEADER: "", ...env },
      })
      : await machine.run(name, ...args);
    heard.push(ran.stdout, ran.stderr);
    assert(!ran.stderr.includes("Uncaught"), ran.stderr);
    heard.push(...textsIn(machine.path));
    return ran.code;
  };
  const out = machine.at("out");
  const ended = [await run("put", ...share, "-v", "-v", key, tree)];
  forget();
  await run("push", ...share, "--json", key);
  forget();
  await run("pull", ...share, key);
  forget();
  await run("rm", key);
  await run("get", ...share, "--remote-required", "--json", key, out);
  forget();
  const built = ["ensure", ...share, "-v", "-v", `${key} 2`, `${out} 2`];
  ended.push(await run(built[0]!, ...built.slice(1), ...command));
  await run("ensure", ...share, "--json", `${key} 3`, `${out} 3`, ...command);
  forget();
  await run("doctor", ...share, "--json");
  ended.push(await run("doctor", ...share));
  assert(
    ended.slice(0, 2).every((code) => code === 0 || code === 2),
    `${ended}`,
  );
  assert(codes(ended[2]!), `doctor: ${ended[2]}: ${heard.at(-1)}`);
  assert(heard.some((it) => it !== ""));
  for (const text of heard) {
    for (const secret of secrets) {
      assert(!text.includes(secret), `"${secret}" is in: ${text}`);
    }
  }
}

const GOOD = (code: number) => code === 0;
const BAD = (code: number) => code === 1;
const WRONG_USE = (code: number) => code === 2;

function withUser(url: string, password = SECRET): string {
  return url.replace("://", `://me:${encodeURIComponent(password)}@`);
}

test("The password of a URL is nowhere to be seen: bazel-remote", [
  "posix",
  "bazel-remote",
], async () => {
  await using dir = TempDir.make();
  const user = { name: "me", password: SECRET };
  await using server = await startBazelRemote({ user });
  for (const url of [server.http, server.grpc]) {
    await assertSecret(dir, withUser(url), GOOD);
    const wrong = "an-other:s3cr3t";
    const secrets = formsOf(wrong);
    await assertSecret(dir, withUser(url, wrong), BAD, { secrets });
  }
});

test("The password of a URL is nowhere to be seen when nothing works", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  await using server = new HttpCache(dir.at("server"));
  const [free] = freePorts(1);
  for (const protocol of ["http", "grpc"]) {
    await assertSecret(dir, withUser(`${protocol}://127.0.0.1:${free}`), BAD);
  }
  // Another protocol than it speaks.
  const { port } = new URL(server.url);
  for (const protocol of ["https", "grpc", "grpcs"]) {
    const env = { REBUILD_CACHE_REMOTE_TIMEOUT: "2" };
    const url = withUser(`${protocol}://127.0.0.1:${port}`);
    await assertSecret(dir, url, BAD, { env });
  }
  // In clear text to another machine, and URLs that are none.
  for (
    const url of [
      withUser("http://cache.example"),
      withUser("ftp://127.0.0.1"),
      withUser("http://127.0.0.1:999999"),
      withUser("s3://bucket"),
      `${withUser("http://127.0.0.1")}#fragment`,
    ]
  ) {
    const number = [...Deno.readDirSync(dir.path)].length;
    const machine = new Machine(dir, `wrong ${number}`);
    for (const command of ["pull", "push"]) {
      const ran = await machine.run(command, "-v", "-v", "--remote", url, "k");
      assert(WRONG_USE(ran.code), ran.stderr);
      for (const secret of formsOf(SECRET)) {
        assert(!`${ran.stdout}${ran.stderr}`.includes(secret), ran.stderr);
      }
    }
  }
});

test(
  "What is in REBUILD_CACHE_REMOTE_HEADER is nowhere to be seen, even if a server says it",
  [
    "posix",
  ],
  async () => {
    await using dir = TempDir.make();
    await using server = new HttpCache(dir.at("server"));
    const token = "t0ken-of-mine";
    const env = {
      REBUILD_CACHE_REMOTE_HEADER:
        `Authorization: Bearer ${token}\nX-More: ${token}2`,
    };
    const how = { env, secrets: formsOf(token) };
    let asked = 0;
    server.answer = ({ headers }) => {
      if (headers.get("authorization") === `Bearer ${token}`) asked++;
      return undefined;
    };
    await assertSecret(dir, server.url, GOOD, how);
    assert(asked > 0);
    const echo = (headers: Headers) => [...headers].join("\n");
    const answers: HttpCache["answer"][] = [
      ({ headers }) => new Response(echo(headers), { status: 403 }),
      ({ headers }) => new Response(echo(headers), { status: 500 }),
      ({ headers }) =>
        new Response(null, {
          status: 302,
          headers: {
            location: `http://${headers.get("x-more")}.example/${token}`,
          },
        }),
      ({ headers }) =>
        new Response(echo(headers), {
          headers: {
            "content-type": `text/html; charset=${token}`,
            "content-encoding": token,
          },
        }),
    ];
    for (const answer of answers) {
      server.answer = answer;
      await assertSecret(dir, server.url, BAD, how);
    }
    for (const line of [`no header ${token}`, `X-Bad\u{1}: ${token}`]) {
      const machine = new Machine(dir, `bad ${line.length}`, {
        REBUILD_CACHE_REMOTE_HEADER: line,
      });
      const ran = await machine.run("pull", "-v", "--remote", server.url, "k");
      assertEquals(
        [ran.code, ran.stderr.includes(token)],
        [2, false],
        ran.stderr,
      );
    }
  },
);

test("What a credential helper says is nowhere to be seen", [
  "posix",
], async () => {
  await using dir = TempDir.make();
  await using server = new HttpCache(dir.at("server"));
  const token = "t0ken-of-the-helper";
  let number = 0;
  const helper = (script: string) => {
    const path = dir.at(`helper-${number++}`);
    Deno.writeTextFileSync(path, `#!/bin/sh\n${script}\n`);
    Deno.chmodSync(path, 0o755);
    return ["--credential-helper", path];
  };
  const say = (text: string) => `cat >/dev/null; printf '%s' '${text}'`;
  const good = say(`{"headers": {"Authorization": ["Bearer ${token}"]}}`);
  // They have it in them, and are not left behind by us.
  const secrets = formsOf(token);
  server.answer = ({ headers }) =>
    headers.get("authorization") === `Bearer ${token}`
      ? undefined
      : new Response(null, { status: 401 });
  await assertSecret(dir, server.url, GOOD, { more: helper(good), secrets });
  const bad = [
    `${good}; echo '${token}' >&2; exit 1`,
    say(`{"headers": {"Authorization": "Bearer ${token}"}}`),
    say(`{"headers": {"X ${token}": ["${token}"]}}`),
    say(`${token} is no JSON`),
  ];
  for (const script of bad) {
    await assertSecret(dir, server.url, BAD, { more: helper(script), secrets });
  }
  server.answer = ({ headers }) =>
    new Response(headers.get("authorization"), { status: 403 });
  await assertSecret(dir, server.url, BAD, { more: helper(good), secrets });
});

test("AWS's secret is nowhere to be seen", [
  "posix",
  "gofakes3",
  "versitygw",
], async () => {
  await using dir = TempDir.make();
  await using free = await startGofakes3();
  await using strict = await startVersitygw();
  const [secret, token] = ["the/secret+key", "the-session-t0ken"];
  const secrets = [...formsOf(secret), ...formsOf(token)];
  const known = { AWS_ACCESS_KEY_ID: "the-access-key" };
  const env = {
    ...known,
    AWS_SECRET_ACCESS_KEY: secret,
    AWS_SESSION_TOKEN: token,
  };
  await assertSecret(dir, free.url, GOOD, { env, secrets });
  await assertSecret(dir, strict.url, BAD, { env, secrets });
  await assertSecret(dir, strict.url, GOOD, {
    env: { ...known, AWS_SECRET_ACCESS_KEY: strict.secretAccessKey },
    secrets: formsOf(strict.secretAccessKey),
  });
  await using server = new HttpCache(dir.at("server"));
  const url = `s3://cache/x?endpoint=${server.url}&region=us-east-1`;
  for (const status of [403, 500]) {
    server.answer = ({ headers }) => {
      const said = [...headers].join(" ");
      const text = `<Error><Code>${token.replaceAll("-", "_")}</Code>`;
      return new Response(`${text}<Message>${said}</Message></Error>`, {
        status,
      });
    };
    await assertSecret(dir, url, BAD, { env, secrets });
  }
});
