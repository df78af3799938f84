import { type Ability, type Capabilities, probe } from "../link/probe.ts";
import { EXIT } from "./ending.ts";
import type { Call, DOCTOR } from "./flags.ts";
import { print, printJson } from "./output.ts";
import { thousands } from "./render.ts";

/** `rebuild-cache doctor DIR [DST]` */
export async function run(call: Call<typeof DOCTOR>): Promise<number> {
  const { dir, dst, links, json } = call.values;
  const found = await probe(dir, dst, { links });
  if (json) printJson("doctor", { result: found });
  else print(describe(found));
  return EXIT.done;
}

function describe(found: Capabilities): string {
  const { source, destination, fileSystems: [from, to], sameDevice } = found;
  const here = source === destination;
  const rows = [
    ["clone", says(found.clone)],
    [
      "hard link",
      found.hardlink.works
        ? `yes, ${
          found.linksAreLimited
            ? `${thousands(found.links)} to a file and no more`
            : `${thousands(found.links)} to a file and more`
        }`
        : says(found.hardlink),
    ],
    ["symlink", says(found.symlink)],
    ...Deno.build.os === "windows" ? [["junction", says(found.junction)]] : [],
    ["file lock", says(found.lock)],
    [
      "names",
      `up to ${found.longestName} bytes; case ${
        found.caseSensitive ? "matters" : "does not matter"
      }; accents ${
        found.normalSensitive ? "as they are written" : "in any normal form"
      }`,
    ],
  ];
  return [
    here
      ? `${source}${from ? ` (${from})` : ""}`
      : `${source}${from ? ` (${from})` : ""} to ${destination}${
        to ? ` (${to})` : ""
      }, ${sameDevice ? "one device" : "two devices"}`,
    ...rows.map(([what, how]) => `  ${what!.padEnd(10)} ${how}`),
    advice(found),
  ].join("\n");
}

function says({ works, reason }: Ability): string {
  return works ? "yes" : `no: ${reason}`;
}

/** What `auto` does there, and why. */
function advice(found: Capabilities): string {
  const { auto, clone, hardlink, links, linksAreLimited } = found;
  switch (auto) {
    case "clone":
      return "auto clones each file: it takes no space, and can be written to.";
    case "hardlink":
      return `auto hard-links each file, since a clone is not possible (${clone.reason}). ` +
        `What will be written to must be named with --mutable.${
          linksAreLimited
            ? ` A file that has ${
              thousands(links)
            } links gets a fresh inode (--on-link-limit).`
            : ""
        }`;
    default:
      return `auto copies each file: a clone is not possible (${clone.reason}), nor a hard link (${hardlink.reason}).`;
  }
}
