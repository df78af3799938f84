/**
 * `.netrc`: users and passwords by machine.
 *
 * @module
 */

/** Who one is on a machine. */
export interface Login {
  readonly login: string;
  readonly password: string;
}

/** Finds a machine in the text of a netrc file; else what is its `default`. */
export function findLogin(netrc: string, host: string): Login | undefined {
  let found: { login?: string; password?: string } | undefined;
  let usual: typeof found;
  let now: typeof found;
  const words = wordsOf(netrc);
  for (let at = 0; at < words.length; at++) {
    switch (words[at]) {
      case "machine":
        now = {};
        if (words[++at]?.toLowerCase() === host.toLowerCase()) found ??= now;
        break;
      case "default":
        usual ??= now = {};
        break;
      case "login":
        if (now) now.login = words[++at] ?? "";
        break;
      case "password":
        if (now) now.password = words[++at] ?? "";
        break;
      case "account":
        at++;
        break;
    }
  }
  const login = found ?? usual;
  if (login?.login === undefined && login?.password === undefined) {
    return undefined;
  }
  return { login: login.login ?? "", password: login.password ?? "" };
}

/** Without comments, and without macros, which end with an empty line. */
function wordsOf(netrc: string): string[] {
  const words: string[] = [];
  let isMacro = false;
  for (const line of netrc.split(/\r?\n/)) {
    if (line.trim() === "") isMacro = false;
    if (isMacro || line.trimStart().startsWith("#")) continue;
    for (const [word] of line.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)) {
      isMacro ||= word === "macdef";
      if (isMacro) break;
      words.push(word.startsWith('"') ? unquoted(word) : word);
    }
  }
  return words;
}

function unquoted(word: string): string {
  return word.replace(/^"|"$/g, "").replaceAll(/\\(.)/g, "$1");
}
