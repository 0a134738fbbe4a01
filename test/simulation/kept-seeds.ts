/** Seeds that once failed, with what they found: they are played again before all others. */
export const keptSeeds: readonly { readonly seed: number; readonly found: string }[] = [
  { seed: 2, found: "an undo was sent while its action was still at work (timed out, canceled)" },
  { seed: 49, found: "a saga with an undo that had spent its budget looked as if it went on, because another undo succeeded" },
  { seed: 1564, found: "a stopping replica turned in a circle without ever hearing of the attempt in flight" },
  { seed: 2179, found: "an ended execution claimed for a command kept its owner when its ledger could not be read" },
  { seed: 2447, found: "an execution belonged for ever to a replica that never heard of its claim" },
  { seed: 3537, found: "a saga that turned with a loser's undo exhausted was neither stuck nor going on" },
  { seed: 5020, found: "a replica that was frozen between commit and send sent an action that had been undone elsewhere" },
  { seed: 24179, found: "after a lost answer another owner's event of the same number and type was taken for one's own" },
  { seed: 24711, found: "an operator's word on a step that had timed out let its undo overtake the action" },
];

/** Of worlds with events, children, tasks and sagas. */
export const keptOutsideSeeds: typeof keptSeeds = [
  { seed: 6599, found: "a replica that woke up refused a report of an attempt that it did not know yet" },
  { seed: 12189, found: "a task was taken back, the answer was lost, and nothing ended its attempt any more" },
  { seed: 29373, found: "a saga that was stuck on the undo of a loser said without end that it is stuck, because a step behind the pivot failed" },
  {
    seed: 21377,
    found: "a saga that timed out while stuck on the undo of a loser looked as if it were compensating while it waited for that undo's slow retry",
  },
];
