// What the command line makes of a fault: exit code 1, one line that names the path,
// and nothing taken for what it is not.
import { assert } from "@std/assert/assert";
import { assertEquals } from "@std/assert/equals";
import { assertMatch } from "@std/assert/match";
import { assertNotMatch } from "@std/assert/not-match";
import { runCli } from "../support/command.ts";
import { test } from "../support/needs.ts";
import { look } from "../support/snapshot.ts";
import { TempDir } from "../support/temp_dir.ts";

const NEEDS = ["linux", "strace"];
const ERRNOS = ["EIO", "ESTALE", "ENOMEM", "EACCES"];

/** Runs the command with an error at its first such call about `path`. */
async function runWith(
  dir: TempDir,
  args: string[],
  [call, errno, ...paths]: readonly [string, string, ...string[]],
) {
  const log = dir.at("trace");
  const ran = await runCli(args, {
    wrap: [
      ...["strace", "-f", "--seccomp-bpf", "-o", log],
      ...paths.flatMap((path) => ["-P", path]),
      ...["-e", `trace=${call}`, "-e", `inject=${call}:error=${errno}:when=1`],
    ],
  });
  assertMatch(Deno.readTextFileSync(log), /\(INJECTED\)/, "nothing failed");
  return ran;
}

const LINKS: [name: string, flags: string[]][] = [
  ["hardlink", ["--mode", "hardlink"]],
  ["copy", ["--mode", "copy"]],
  ["replace", ["--if-exists", "replace"]],
];

for (const [name, flags] of LINKS) {
  test(
    `rebuild-cache link fails and names the directory when it can't be read to its end, by ${name}`,
    NEEDS,
    async () => {
      for (const errno of ERRNOS) {
        await using dir = TempDir.make();
        dir.write({ src: { top: "top", sub: { file: "file" } } });
        if (name === "replace") dir.write({ dst: { old: "old" } });
        const before = look(dir.at("dst"));
        const { code, stderr } = await runWith(
          dir,
          ["link", dir.at("src"), dir.at("dst"), ...flags],
          ["getdents64", errno, dir.at("src", "sub")],
        );
        assertEquals(look(dir.at("dst")), before, errno);
        assertEquals(code, 1, `${errno}: ${stderr}`);
        assert(stderr.includes(dir.at("src", "sub")), stderr);
        assertNotMatch(stderr, /^\s+at /m);
      }
    },
  );
}

test(
  "rebuild-cache put keeps the key's old archive when the source can't be read to its end",
  NEEDS,
  async () => {
    for (const errno of ERRNOS) {
      await using dir = TempDir.make();
      const root = ["--dir", dir.at("cache")];
      dir.write({ old: { old: "old" }, src: { top: "top" } });
      const { code } = await runCli(["put", "key", dir.at("old"), ...root]);
      assertEquals(code, 0);
      const ran = await runWith(
        dir,
        ["put", "key", dir.at("src"), ...root],
        ["getdents64", errno, dir.at("src")],
      );
      const got = await runCli(["get", "key", dir.at("got"), ...root]);
      assertEquals(got.code, 0, got.stderr);
      assertEquals(Object.keys(look(dir.at("got"))), ["old", ""], errno);
      assertEquals(ran.code, 1, `${errno}: ${ran.stderr}`);
      assert(ran.stderr.includes(dir.at("src")), ran.stderr);
    }
  },
);

test(
  "rebuild-cache verify reports what it can't read, and takes nothing away",
  NEEDS,
  async () => {
    for (const errno of ["EMFILE", ...ERRNOS]) {
      await using dir = TempDir.make();
      const root = ["--dir", dir.at("cache")];
      dir.write({ src: { top: "top", sub: { file: "file" } } });
      await runCli(["put", "key", dir.at("src"), ...root]);
      const archives = [...Deno.readDirSync(dir.at("cache"))]
        .find(({ name }) => /^archive-v\d+$/.test(name))!.name;
      const [id] = Deno.readDirSync(dir.at("cache", archives));
      const tree = dir.at("cache", archives, id!.name, "tree");
      const { code, stderr } = await runWith(
        dir,
        ["verify", ...root],
        // By its path, or by its name in a directory that is held open.
        ["openat", errno, `${tree}/sub`, "sub"],
      );
      const got = await runCli(["get", "key", dir.at("got"), ...root]);
      assertEquals(got.code, 0, `${errno}: the key is a miss: ${stderr}`);
      // Too many open files pass: then it was read after all.
      if (errno !== "EMFILE") {
        assertEquals(code, 1, `${errno}: ${stderr}`);
        assert(stderr.includes(`${tree}/sub`), stderr);
      }
    }
  },
);
