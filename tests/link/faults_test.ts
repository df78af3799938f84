// Every error at the first, the third and the last call of each kind that a link
// makes, put there by strace: the outcome is the one that the README's table names, the
// source is unharmed, and nothing is left.
import { assert, assertEquals } from "@std/assert";
import type { LinkReport, LinkTreeOptions } from "../../lib/link/options.ts";
import { makeFileSystem, mountTest, TOOLS } from "../support/mounts.ts";
import { namesIn } from "../support/temp_dir.ts";
import { Traced } from "../support/traced.ts";

/** What an error is called, and what kind a LinkError of it has. */
const KINDS = {
  EMLINK: "link-limit",
  EXDEV: "cross-device",
  EPERM: "permission",
  EACCES: "permission",
  ENOSPC: "no-space",
  EIO: "io",
  EROFS: "read-only",
  EDQUOT: "no-space",
  ENOSYS: "unsupported",
  EOPNOTSUPP: "unsupported",
  ESTALE: "stale",
  EINTR: "transient",
} as const;
type Errno = keyof typeof KINDS;

/** What leads down a rung, or, of hard links, to a reset. */
const NEXT_RUNG: Errno[] = [
  "EMLINK",
  "EXDEV",
  "EPERM",
  "EACCES",
  "ENOSYS",
  "EOPNOTSUPP",
];

/** What makes us copy in another way. */
const OTHER_COPY: Errno[] = ["EXDEV", "EPERM", "ENOSYS", "EOPNOTSUPP"];

interface Scenario {
  name: string;
  options: LinkTreeOptions;
  /** What stands at the destination. */
  there?: boolean;
  /** The calls, as a strace expression, which lines are meant, and what gets the file there. */
  calls: [call: string, line: RegExp, goesOn: (line: string) => Errno[]][];
}

const never = () => [];
const SCENARIOS: Scenario[] = [
  {
    name: "hardlink",
    options: { mode: "hardlink" },
    calls: [
      ["linkat", /linkat/, () => NEXT_RUNG],
      ["/^mkdir", /mkdir/, never],
      ["/^symlink", /symlink/, never],
      ["/^rename", /rename/, never],
    ],
  },
  {
    name: "clone",
    options: { mode: "clone" },
    calls: [
      ["ioctl", /FICLONE/, () => NEXT_RUNG],
      [
        "openat",
        /^(?!.*(empty|\\303|\.lock)).*O_RDWR\|O_CREAT\|O_EXCL/,
        () => NEXT_RUNG,
      ],
    ],
  },
  {
    name: "copy",
    options: { mode: "copy" },
    calls: [
      [
        "copy_file_range",
        /copy_file_range/,
        () => OTHER_COPY,
      ],
      ["openat", /^(?!.*\\303).*O_CREAT/, never],
    ],
  },
  {
    name: "merge",
    options: { mode: "hardlink", ifExists: "merge" },
    there: true,
    calls: [[
      "/^rename",
      /rename/,
      (line) => line.includes('"link"') ? [] : ["EMLINK"],
    ]],
  },
  {
    name: "replace",
    options: { mode: "hardlink", ifExists: "replace" },
    there: true,
    calls: [["/^rename", /rename/, never]],
  },
];

/** Each path's kind and content, and what a link shares. */
function look(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync(root)) {
    const path = `${root}/${name}`;
    if (isSymlink) found[name] = `to ${Deno.readLinkSync(path)}`;
    else if (!isDirectory) {
      const { mode, mtime } = Deno.lstatSync(path);
      found[name] = `${Deno.readTextFileSync(path)} ${mode} ${
        mtime!.getTime()
      }`;
    } else {
      found[name] = "directory";
      for (const [below, what] of Object.entries(look(path))) {
        found[`${name}/${below}`] = what;
      }
    }
  }
  return found;
}

function makeSource(root: string): void {
  for (const directory of ["a", "b", "c"]) {
    Deno.mkdirSync(`${root}/${directory}`, { recursive: true });
    Deno.writeTextFileSync(`${root}/${directory}/file`, `in ${directory}`);
    Deno.utimeSync(`${root}/${directory}/file`, 1e9, 1e9);
    Deno.symlinkSync("file", `${root}/${directory}/link`);
  }
  Deno.writeTextFileSync(`${root}/file`, "at the top");
  Deno.writeTextFileSync(`${root}/empty`, "");
}

mountTest(
  import.meta.url,
  "linkTree() does what the table says and leaves nothing when any call fails in any way",
  [...TOOLS.xfs, "strace"],
  async (dir) => {
    const mount = await makeFileSystem(dir, "xfs");
    makeSource(`${mount}/source`);
    const source = look(`${mount}/source`);
    await using traced = await Traced.start("link_when_told.ts");
    let runs = 0;
    for (const scenario of SCENARIOS) {
      const there = `${mount}/${scenario.name}`;
      const run = (trace: string, inject?: string) => {
        if (scenario.there) {
          Deno.mkdirSync(`${there}/a`, { recursive: true });
          Deno.writeTextFileSync(`${there}/a/file`, "old");
        }
        const options = { jobs: 1, ...scenario.options };
        return traced.run([`${mount}/source`, there, options], trace, inject);
      };
      for (const [call, meant, goesOn] of scenario.calls) {
        const { calls } = await run(call);
        Deno.removeSync(there, { recursive: true });
        // strace counts all calls of that name, also those that are not meant.
        const ordinals = calls.filter((line) => / = -?\d/.test(line)).flatMap((
          line,
          at,
        ) => meant.test(line) ? [{ line, when: at + 1 }] : []);
        assert(ordinals.length > 0, `${scenario.name}: no ${call}`);
        const places = new Set([ordinals[0], ordinals[2], ordinals.at(-1)]);
        places.delete(undefined);
        for (const { line, when } of places as Set<typeof ordinals[0]>) {
          for (const errno of Object.keys(KINDS) as Errno[]) {
            const inject = `${call}:error=${errno}:when=${when}`;
            const what = `${scenario.name}: ${inject}: ${line}`;
            const { answer, calls } = await run(call, inject);
            assert(calls.some((it) => it.includes("(INJECTED)")), what);
            const { report, error } = answer as {
              report?: LinkReport;
              error?: { name: string; kind: string };
            };
            if (errno === "EINTR" || goesOn(line).includes(errno)) {
              if (!report) throw new Error(`${what}: ${JSON.stringify(error)}`);
              assertEquals(look(there), source, what);
              const { cloned, hardlinked, copied, created, links } = report;
              assertEquals([cloned + hardlinked + copied, created, links], [
                4,
                1,
                3,
              ], what);
            } else {
              if (!error) throw new Error(`${what}: ${JSON.stringify(report)}`);
              assertEquals(error.name, "LinkError", JSON.stringify(error));
              assertEquals(error.kind, KINDS[errno], what);
              if (scenario.name === "merge") {
                const found = look(there);
                for (const path of Object.keys(found)) {
                  const whole = found[path] === source[path] ||
                    found[path]!.startsWith("old ");
                  assert(whole, `${what}: ${path}: ${found[path]}`);
                }
              } else if (scenario.there) {
                assertEquals(Object.keys(look(there)), ["a", "a/file"], what);
              }
            }
            assertEquals(look(`${mount}/source`), source, what);
            const left = namesIn(mount).filter((it) => it !== scenario.name);
            assertEquals(left, ["source"], what);
            const stands = namesIn(mount).includes(scenario.name);
            assertEquals(stands, !error || scenario.there === true, what);
            if (stands) Deno.removeSync(there, { recursive: true });
            runs++;
          }
        }
      }
    }
    assert(runs >= 250, String(runs));
  },
);
