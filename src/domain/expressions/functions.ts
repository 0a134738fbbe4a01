/** Every function an expression may call, by name. Nothing else exists: no clock, no random, no input or output. */
import { codecFunctions } from "./codec-functions.ts";
import { conversionFunctions } from "./conversion-functions.ts";
import type { CelFunction } from "./function-table.ts";
import { listFunctions, listMethods } from "./list-functions.ts";
import { numberFunctions } from "./number-functions.ts";
import { optionalFunctions, optionalMethods } from "./optional-functions.ts";
import { textFunctions, textMethods } from "./text-functions.ts";
import { timeMethods } from "./time-functions.ts";

/** `f(x)` and `namespace.f(x)`. */
export const functions: ReadonlyMap<string, CelFunction> = new Map(
  Object.entries({ ...conversionFunctions, ...textFunctions, ...listFunctions, ...numberFunctions, ...codecFunctions, ...optionalFunctions }),
);

/** `x.f(y)`; the target is the first argument. */
export const methods: ReadonlyMap<string, CelFunction> = new Map(
  Object.entries({ ...textMethods, ...listMethods, ...timeMethods, ...optionalMethods, size: conversionFunctions["size"] as CelFunction }),
);

/** Names in front of a dot that are not variables: `json.encode(x)`. */
export const namespaces: ReadonlySet<string> = new Set([...functions.keys()].filter((name) => name.includes(".")).map((name) => name.split(".")[0] as string));
