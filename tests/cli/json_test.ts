// What --json prints, by every command and in every outcome, is what
// docs/output.schema.json says.
import { assertEquals } from "@std/assert";
import { Ajv } from "ajv";
import { openCache } from "../../lib/cache/cache.ts";
import { lease } from "../../lib/lock/directory.ts";
import { ROOT, runCli } from "../support/command.ts";
import { HttpCache } from "../support/http_cache.ts";
import { TempDir } from "../support/temp_dir.ts";

const schema = JSON.parse(
  Deno.readTextFileSync(`${ROOT}/docs/output.schema.json`),
);
const validate = new Ajv({ allowUnionTypes: true }).compile(schema);

Deno.test("rebuild-cache --json prints one object of the schema, whatever happens", async () => {
  await using dir = TempDir.make();
  dir.write({
    src: { a: "content", empty: "" },
    there: { old: "old" },
    gone: { a: "" },
    dry: { a: "" },
    busy: { a: "" },
    built: {},
    served: {},
  });
  await using server = new HttpCache(dir.at("served"));
  const store = ["--dir", dir.at("store")];
  const fill = [Deno.execPath(), "eval", "console.log('noise')"];
  const fail = [Deno.execPath(), "eval", "Deno.exit(3)"];
  const here = ["--remote", server.url];
  const writing = [...here, "--remote-mode", "read-write"];
  const other = ["--dir", dir.at("other store")];
  const down = ["--remote", "http://127.0.0.1:1"];
  const held = await lease(dir.at("busy"), { purpose: "a test" });
  const cases: [code: number, args: string[]][] = [
    [0, ["--dir", "gone", "--dir", "nothing"]],
    [0, ["--dir", "dry", "--dry-run"]],
    [0, ["--dir", "busy", "--if-busy", "skip"]],
    [75, ["--dir", "busy", "--if-busy", "fail"]],
    [2, ["--dir", "/"]],
    [2, ["--dri", "gone"]],
    [2, ["liink", "a", "b"]],
    [0, ["--dir", "built", "--allow-empty", "--", ...fill]],
    [2, ["get", ...store, "~/key"]],
    [0, ["clear", "nothing"]],
    [0, ["rebuild", "built", "--allow-empty", "--", ...fill]],
    [0, ["help"]],
    [0, ["help", "get"]],
    [0, ["get", "--help"]],
    [0, ["version"]],
    [0, ["-V"]],
    [1, ["--dir", "built", "--", ...fill]],
    [0, ["--dir", "built", "--dry-run", "--", ...fill]],
    [75, [
      "--dir",
      "busy",
      "--allow-empty",
      "--if-busy",
      "fail",
      "--",
      ...fill,
    ]],
    [0, ["--dir", "busy", "--allow-empty", "--if-busy", "skip", "--", ...fill]],
    [0, ["link", "src", "out"]],
    [0, ["link", "src/a", "out-file"]],
    [0, ["link", "src", "there", "--if-exists", "skip"]],
    [1, ["link", "src", "there"]],
    [1, ["ls", ...store]],
    [4, ["get", ...store, "key", "hit"]],
    [0, ["put", ...store, "key", "src"]],
    [0, ["get", ...store, "key", "hit"]],
    [0, ["ensure", ...store, "key", "ensured", "--", ...fill]],
    [1, ["ensure", ...store, "new", "made", "--", ...fill]],
    [0, ["ensure", ...store, "--allow-empty", "new", "made", "--", ...fill]],
    [0, ["ensure", ...store, "--fallback", "k", "kin", "kin", "--", ...fill]],
    [0, ["ensure", ...store, "key", "ensured", "--", ...fill]],
    [
      0,
      ["ensure", ...store, "--refresh", "--allow-empty", "key", "made", "--"]
        .concat(fill),
    ],
    [0, ["get", ...store, "--fallback", "k", "kit", "kit"]],
    [0, ["get", ...store, "--lookup-only", "key"]],
    [4, ["get", ...store, "--lookup-only", "--hash", "src/*", "key"]],
    [0, ["stats", ...store]],
    [0, ["rm", ...store, "--dry-run", "kin"]],
    [4, ["rm", ...store, "kin", "no-such-key"]],
    [1, ["put", ...store, "key", "no-such-source"]],
    [0, ["ls", ...store]],
    [0, ["get", ...store, "--lookup-only", "key"]],
    [0, ["get", ...store, "--fallback", "ke", "--", "kex", "part"]],
    [0, ["link", "src", "dry-new", "--dry-run"]],
    [0, ["link", "src/a", "dry-new", "--dry-run"]],
    [0, ["get", ...store, "--dry-run", "key", "dry-new"]],
    [0, ["ensure", ...store, "--dry-run", "dry", "dry-new", "--", ...fill]],
    [0, ["ensure", ...store, "--dry-run", "key", "dry-new", "--", ...fill]],
    [0, ["stats", ...store]],
    [0, ["verify", ...store]],
    [0, ["prune", ...store, "--max-entries", "1", "--dry-run"]],
    [0, ["prune", ...store, "--max-entries", "1"]],
    [4, ["rm", ...store, "no-such-key"]],
    [3, ["--dir", "built", "--", ...fail]],
    [3, ["ensure", ...store, "never", "made-not", "--", ...fail]],
    [3, ["use", "--dir", "built", "--", ...fail]],
    [0, ["completions", "bash"]],
    [0, ["man"]],
    [0, ["doctor", ".", "--links", "3"]],
    [0, ["doctor", ".", "there", "--links", "3"]],
    [0, ["put", ...store, ...writing, "shared", "src"]],
    [4, ["get", ...other, ...here, "not shared", "pulled"]],
    [0, ["get", ...other, ...here, "shared", "pulled"]],
    [0, ["ensure", ...other, ...here, "shared", "again", "--", ...fail]],
    [0, ["put", ...store, "pushed", "src"]],
    [0, ["push", ...store, ...here, "pushed"]],
    [4, ["push", ...store, ...here, "pushed", "no-such-key"]],
    [0, ["ensure", ...other, ...here, "pushed", "more", "--", ...fail]],
    [4, ["pull", ...other, ...here, "pushed", "no-such-key"]],
    [2, ["pull", ...other, "pushed"]],
    [0, ["doctor", ...here]],
    [0, ["doctor", ...writing]],
    [1, ["doctor", ...down]],
    [0, ["put", ...store, ...down, "here", "src"]],
    [1, ["pull", ...other, ...down, "here"]],
    [1, ["push", ...store, ...down, "here"]],
    [
      0,
      ["ensure", ...other, ...down, "key", "built here", "--allow-empty"]
        .concat("--", fill),
    ],
  ];
  for (const [code, args] of cases) {
    const end = args.indexOf("--");
    const at = end < 0 ? args.length : end;
    const ran = await runCli(args.toSpliced(at, 0, "--json"), {
      cwd: dir.path,
    });
    const what = `${args.join(" ")}: ${ran.stdout}${ran.stderr}`;
    assertEquals(ran.code, code, what);
    const valid = validate(JSON.parse(ran.stdout));
    const wrong = validate.errors?.slice(0, 5)
      .map(({ instancePath, message }) => `${instancePath} ${message}`);
    assertEquals(valid, true, `${wrong?.join("; ")}: ${what}`);
  }
  held[Symbol.dispose]();
  const { id } = openCache(dir.at("store")).entries()[0]!;
  Deno.writeTextFileSync(dir.at("store", "archive-v1", id, "manifest"), "x");
  const damaged = await runCli(["verify", "--json", ...store]);
  assertEquals(damaged.code, 1);
  assertEquals(validate(JSON.parse(damaged.stdout)), true, damaged.stdout);
});
