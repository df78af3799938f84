import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  awsOf,
  type CredentialOptions,
  credentialsFor,
} from "../../lib/remote/credentials.ts";
import { RemoteError } from "../../lib/remote/engine.ts";
import { askHelper } from "../../lib/remote/helper_command.ts";
import { findLogin } from "../../lib/remote/netrc.ts";
import { test } from "../support/needs.ts";
import { TempDir } from "../support/temp_dir.ts";

const { signal } = new AbortController();
const URL_ = new URL("https://cache.example/path");

function headersOf(options: CredentialOptions, url = URL_) {
  return credentialsFor(url, options).headers(signal);
}

Deno.test("credentialsFor() reads headers, a line each", async () => {
  assertEquals(await headersOf({}), {});
  assertEquals(await headersOf({ headers: "" }), {});
  assertEquals(
    await headersOf({
      headers: "Authorization: Bearer a:b \r\n\n x-Tenant:me\n",
    }),
    { authorization: "Bearer a:b", "x-tenant": "me" },
  );
});

Deno.test("credentialsFor() says which line is no header, and not what is in it", () => {
  for (
    const wrong of [
      "secret",
      ": secret",
      "a b: secret",
      "a: sec\u0000ret",
      "a: sécr\u0119t",
    ]
  ) {
    const { message } = assertThrows(
      () => credentialsFor(URL_, { headers: `a: b\n${wrong}` }),
      TypeError,
      "Line 2 of headers",
    );
    assertEquals(/s[eé]c/.test(message), false);
  }
});

Deno.test("credentialsFor() takes the user of the URL, then netrc; a header is before both", async () => {
  const url = new URL("https://us%65r:p%40ss%3Aw%25rd@cache.example/");
  const basic = (text: string) => ({
    authorization: `Basic ${new TextEncoder().encode(text).toBase64()}`,
  });
  const netrc = "machine cache.example login me password secret";
  assertEquals(await headersOf({}, url), basic("user:p@ss:w%rd"));
  assertEquals(await headersOf({ netrc }, url), basic("user:p@ss:w%rd"));
  assertEquals(await headersOf({ netrc }), basic("me:secret"));
  const headers = "authorization: mine";
  assertEquals(await headersOf({ netrc, headers }, url), {
    authorization: "mine",
  });
});

Deno.test("credentialsFor() sends nothing in clear text to another machine", async () => {
  const away = new URL("http://cache.example:8080/");
  const given: CredentialOptions[] = [
    { headers: "x: y" },
    { netrc: "default login me password secret" },
    { credentialHelper: "helper" },
    { aws: { accessKeyId: "id", secretAccessKey: "secret" } },
    { aws: { credentialProcess: "secret" } },
  ];
  for (const options of given) {
    for (
      const url of [
        away,
        new URL("grpc://10.0.0.1:1"),
        new URL("http://127.0.0.1.example/"),
      ]
    ) {
      const { message } = assertThrows(
        () => credentialsFor(url, options),
        TypeError,
        "clear text",
      );
      assertEquals(message.includes("secret"), false);
    }
  }
  assertThrows(
    () => credentialsFor(new URL("http://me:secret@cache.example/"), {}),
    TypeError,
    "clear text",
  );
  assertEquals(await headersOf({ netrc: "machine other login a" }, away), {});
  for (
    const host of [
      "localhost",
      "127.0.0.1",
      "127.9.9.9",
      "[::1]",
      "a.localhost",
    ]
  ) {
    const headers = await headersOf(
      { headers: "x: y" },
      new URL(`http://${host}/`),
    );
    assertEquals(headers, { x: "y" });
  }
});

Deno.test("credentialsFor() scrubs what is secret", () => {
  const url = new URL("https://me:p%40ssword@cache.example/");
  const options = { headers: "authorization: Bearer t0ken-t0ken\nx-key: abc" };
  const { scrub } = credentialsFor(url, options);
  const said = "t0ken-t0ken p@ssword p%40ssword Bearer t0ken-t0ken abc";
  assertEquals(scrub(said), "… … … … abc");
  const query = new URL("https://cache.example/?token=sh%2Fared");
  const { scrub: without } = credentialsFor(query, {});
  assertEquals(without("/?token=sh%2Fared: sh/ared"), "/?token=…: …");
});

Deno.test("findLogin() reads netrc as curl does", () => {
  const netrc = `# machine cache.example login comment password comment
machine other.example login other password one # not a comment
machine Cache.Example
\tlogin me
\taccount none
\tpassword "with blank\\" and #"
macdef init
machine cache.example login macro password macro

machine cache.example login second password second
machine bare.example password only
default login anonymous password guest
`;
  assertEquals(findLogin(netrc, "cache.example"), {
    login: "me",
    password: 'with blank" and #',
  });
  assertEquals(findLogin(netrc, "bare.example"), {
    login: "",
    password: "only",
  });
  assertEquals(findLogin(netrc, "unknown"), {
    login: "anonymous",
    password: "guest",
  });
  assertEquals(findLogin("machine a login b password c", "unknown"), undefined);
  assertEquals(findLogin("machine a", "a"), undefined);
  assertEquals(findLogin("", "a"), undefined);
});

Deno.test("awsOf() reads AWS's variables", () => {
  const variables: Record<string, string> = {
    AWS_ACCESS_KEY_ID: "id",
    AWS_SECRET_ACCESS_KEY: "secret",
    AWS_SESSION_TOKEN: "",
    AWS_DEFAULT_REGION: "eu-north-1",
  };
  assertEquals(awsOf((name) => variables[name]), {
    accessKeyId: "id",
    secretAccessKey: "secret",
    region: "eu-north-1",
  });
});

/** Writes a program in a shell's language. */
function script(dir: TempDir, text: string): string {
  const path = dir.at(`helper ${crypto.randomUUID()}`);
  Deno.writeTextFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return path;
}

test("credentialsFor() asks a helper as Bazel does", ["sh"], async () => {
  await using dir = TempDir.make();
  const asked = dir.at("asked");
  const credentialHelper = script(
    dir,
    `test "$*" = get || exit 9
cat >'${asked}'
echo '{"headers": {"Authorization": ["Bearer t0ken"], "x-more": ["a", "b"]}, "expires": "2030-01-01T00:00:00Z"}'`,
  );
  const url = new URL("https://user:password@cache.example/path");
  const credentials = credentialsFor(new URL("https://cache.example/path"), {
    credentialHelper,
    headers: "x-more: mine",
  });
  assertEquals(await credentials.headers(signal), {
    authorization: "Bearer t0ken",
    "x-more": "mine",
  });
  assertEquals(JSON.parse(Deno.readTextFileSync(asked)), {
    uri: "https://cache.example/path",
  });
  assertEquals(credentials.scrub("it was t0ken"), "it was …");
  // Who we are is known already: nobody is asked.
  Deno.removeSync(asked);
  const known = await headersOf({ credentialHelper }, url);
  assertEquals(Object.keys(known), ["authorization"]);
  assertThrows(() => Deno.statSync(asked), Deno.errors.NotFound);
});

test("credentialsFor() says how a helper failed, and not what it printed", [
  "sh",
], async () => {
  await using dir = TempDir.make();
  for (
    const [text, why] of [
      ["echo secret; exit 3", "ended with 3"],
      ["echo secret", "no JSON"],
      ["echo '[1'", "no JSON"],
      ["echo null", "no JSON"],
      [`echo '{"headers": {"a": "secret"}}'`, "headers that are none"],
      [`echo '{"headers": {"a": [1]}}'`, "headers that are none"],
      [`echo '{"headers": {"a b": ["secret"]}}'`, "headers that are none"],
      [
        `printf '%s' '{"headers": {"a": ["secret\\n"]}}'`,
        "headers that are none",
      ],
      ["exec yes secret", "printed too much"],
    ] as const
  ) {
    const credentialHelper = script(dir, text);
    const error = await assertRejects(
      () => headersOf({ credentialHelper }),
      RemoteError,
      why,
    );
    assertEquals(error.kind, "refused");
    assertEquals(error.message.includes("secret"), false);
  }
  const missing = await assertRejects(
    () => headersOf({ credentialHelper: dir.at("missing") }),
    RemoteError,
    "can't be run",
  );
  assertEquals(missing.kind, "refused");
});

test(
  "askHelper() ends a program, and what holds its pipe, when it is aborted",
  ["sh", "sleep"],
  async () => {
    await using dir = TempDir.make();
    const started = dir.at("started");
    const program = script(
      dir,
      `sleep 300 & echo $! >'${started}.new'
mv '${started}.new' '${started}'
wait`,
    );
    const abort = new AbortController();
    const what = "the credential helper";
    const asked = askHelper({ what, program, args: [] }, abort.signal);
    const caught = assertRejects(() => asked, Error, "stop");
    let pid = 0;
    while (pid === 0) {
      try {
        pid = Number(Deno.readTextFileSync(started));
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    abort.abort(new Error("stop"));
    await caught;
    Deno.kill(pid, "SIGKILL");
  },
);

test(
  "credentialsFor() asks a credential_process for keys of S3",
  ["sh"],
  async () => {
    await using dir = TempDir.make();
    const program = script(
      dir,
      `test "$1 $2" = 'a b c' || exit 9
echo '{"Version": 1, "AccessKeyId": "id", "SecretAccessKey": "s3cret", "SessionToken": "t0ken"}'`,
    );
    const url = new URL("https://s3.example/");
    const keys = (credentialProcess: string) =>
      credentialsFor(url, { aws: { credentialProcess } }).aws(signal);
    assertEquals(await keys(`'${program}' "a b" c`), {
      accessKeyId: "id",
      secretAccessKey: "s3cret",
      sessionToken: "t0ken",
    });
    await assertRejects(() => keys(`'${program}' b`), RemoteError, "with 9");
    const none = script(dir, "echo '{}'");
    await assertRejects(() => keys(`'${none}'`), RemoteError, "no keys");
    const given = { accessKeyId: "mine", secretAccessKey: "mine too" };
    const credentials = credentialsFor(url, {
      aws: { ...given, credentialProcess: dir.at("missing") },
    });
    assertEquals(await credentials.aws(signal), given);
    assertEquals(await credentialsFor(url, { aws: {} }).aws(signal), undefined);
  },
);
