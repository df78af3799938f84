import { type Ability, type Capabilities, probe } from "../link/probe.ts";
import type { RemoteHealth } from "../remote/health.ts";
import { EXIT, untilSignalled } from "./ending.ts";
import { UsageError } from "./flag.ts";
import type { Call, DOCTOR } from "./flags.ts";
import { print, printJson } from "./output.ts";
import { loadRemotes, openNamed } from "./remote.ts";
import { milliseconds, size, thousands } from "./render.ts";

/** `rebuild-cache doctor DIR [DST]` */
export async function run(call: Call<typeof DOCTOR>): Promise<number> {
  const { dir, dst, links, json, remote } = call.values;
  if (remote !== undefined) {
    if (dir !== undefined) {
      throw new UsageError("doctor takes a DIR or --remote URL, not both");
    }
    return await examine(call, remote);
  }
  if (dir === undefined) {
    throw new UsageError("doctor takes DIR, or --remote URL");
  }
  const found = await probe(dir, dst, { links });
  if (json) printJson("doctor", { result: found });
  else print(describe(found));
  return EXIT.done;
}

/** What can be done with a server. */
async function examine(
  call: Call<typeof DOCTOR>,
  url: string,
): Promise<number> {
  return await untilSignalled(async (signal) => {
    const { doctor } = await loadRemotes();
    using remote = await openNamed(call, url);
    const found = await doctor(remote, { signal });
    if (call.values.json) printJson("doctor", { result: { remote: found } });
    else print(describeRemote(found, call.values.remoteMode));
    const { reads, writes } = found;
    const isFine = reads && (writes || call.values.remoteMode === "read");
    return isFine ? EXIT.done : EXIT.failed;
  });
}

function describeRemote(
  { name, kind, reads, writes, reason, ...speed }: RemoteHealth,
  mode: string,
): string {
  const rate = (bytes: number | undefined) =>
    bytes === undefined ? "not measured" : `${size(bytes)}/s`;
  const { roundTripMs, uploadBytesPerSecond, downloadBytesPerSecond } = speed;
  const rows = [
    ["read", reads ? "yes" : "no"],
    [
      "write",
      mode === "read"
        ? "not tried (--remote-mode read)"
        : writes
        ? "yes"
        : "no",
    ],
    [
      "round trip",
      roundTripMs === undefined ? "not measured" : milliseconds(roundTripMs),
    ],
    ["upload", rate(uploadBytesPerSecond)],
    ["download", rate(downloadBytesPerSecond)],
    ...reason === undefined ? [] : [["", reason]],
  ];
  return [
    `${name} (${kind})`,
    ...rows.map(([what, how]) => `  ${what!.padEnd(10)} ${how}`),
  ].join("\n");
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
