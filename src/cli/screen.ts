/** The only place that writes: data to stdout, everything else to stderr, and nothing that could steer a terminal. */
import { clipped, visibleJson, visibleText } from "./visible-text.ts";

/** What of a stream is needed; process.stdout is one. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

export interface Screen {
  /** stdout is a terminal: what goes on may be redrawn. */
  readonly isTerminal: boolean;
  /** A line of data for people. */
  line(text: string): void;
  /** Data for programs: JSON text, as it is. */
  json(text: string): void;
  /** A line that is no data. */
  say(text: string): void;
  /** Replaces what the last redraw left. Lines beyond the terminal's height are counted instead. */
  redraw(lines: readonly string[]): void;
}

const columnsDefault = 120;
const rowsDefault = 40;
const colours: Readonly<Record<string, number>> = { "✓": 32, "✗": 31, "▶": 36, "⧖": 36, "↻": 33, "↩": 33, "•": 90, "–": 90 };

export function createScreen(out: Output, err: Output): Screen {
  let drawn = 0;
  const erase = (): string => {
    const sequence = drawn > 0 ? `\u001b[${drawn}A\u001b[0J` : "";
    drawn = 0;
    return sequence;
  };
  return {
    isTerminal: out.isTTY === true,
    line(text) {
      drawn = 0;
      out.write(`${visibleText(text)}\n`);
    },
    json(text) {
      drawn = 0;
      out.write(`${visibleJson(text)}\n`);
    },
    say(text) {
      // On one terminal a redraw would otherwise take this line away.
      drawn = 0;
      err.write(`${visibleText(text)}\n`);
    },
    redraw(lines) {
      const columnsMax = Math.max(20, (out.columns ?? columnsDefault) - 1);
      const shown = fitting(lines, Math.max(5, (out.rows ?? rowsDefault) - 1));
      const text = shown.map((line) => `${coloured(clipped(visibleText(line), columnsMax))}\n`).join("");
      out.write(erase() + text);
      drawn = shown.length;
    },
  };
}

function fitting(lines: readonly string[], rowsMax: number): readonly string[] {
  if (lines.length <= rowsMax) return lines;
  const kept = lines.slice(0, rowsMax - 1);
  return [...kept, `… ${lines.length - kept.length} more`];
}

/** The first sign of a line that stands for a state; colour says nothing that the sign does not. */
function coloured(line: string): string {
  return line.replace(/[✓✗▶⧖↻↩•–]/u, (sign) => `\u001b[${colours[sign]}m${sign}\u001b[0m`);
}
