/** Offsets of a text as line and column. */
import type { Position } from "./expression.ts";

export type Positions = (offset: number) => Position;

/** Positions in `source`. Lines are found once, at the first question, since a text may hold hundreds of expressions. */
export function positionsIn(source: string): Positions {
  let starts: readonly number[] | undefined;
  return (offset) => {
    starts ??= [0, ...Array.from(source.matchAll(/\r\n|\r|\n/g), (found) => found.index + found[0].length)];
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return { offset, line: low + 1, column: offset - (starts[low] as number) + 1 };
  };
}
