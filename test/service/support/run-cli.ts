/** The command in this process, as a script sees it: what it wrote, and its exit code. */
import { main } from "../../../src/cli/main.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface Circumstances {
  readonly url: string;
  readonly apiKey?: string;
  readonly input?: string;
  readonly signal?: AbortSignal;
  /** A terminal of this many columns. */
  readonly columns?: number;
  readonly onOut?: (text: string) => void;
}

/** `argv` as a shell would split it. */
export async function runCli(argv: readonly string[], { url, apiKey, input = "", signal, columns, onOut }: Circumstances): Promise<Ran> {
  let [out, err] = ["", ""];
  const code = await main(argv, {
    env: { PAWF_URL: url, ...(apiKey === undefined ? {} : { PAWF_API_KEY: apiKey }) },
    out: {
      write: (text) => {
        out += text;
        onOut?.(text);
      },
      ...(columns === undefined ? {} : { isTTY: true, columns, rows: 40 }),
    },
    err: { write: (text) => void (err += text) },
    input: (async function* () {
      if (input !== "") yield input;
    })(),
    signal: signal ?? new AbortController().signal,
  });
  return { code, out, err };
}
