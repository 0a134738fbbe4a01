/** Work on many items of one request, a few at a time: a hundred of them must not keep other callers waiting. */
import { setImmediate as nextTurn } from "node:timers/promises";

const parallelMax = 4;

/** Items of a page that are read whole (definitions up to 1 MiB each), whatever page size was asked for. */
export const wholeItemsMax = 50;

/** Answers in the order of `items`. What is cached is read without a pause, so other work gets its turn after each item. */
export async function inTurns<Item, Answer>(items: readonly Item[], work: (item: Item) => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      answers[index] = await work(items[index] as Item);
      await nextTurn();
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallelMax, items.length) }, worker));
  return answers;
}
