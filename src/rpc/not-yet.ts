/** Refuses what the contract has and this server does not do yet: an option is refused, never ignored. */
import { AppError } from "../base/errors.ts";

/** Throws FEATURE_DISABLED naming the first of `features` that is asked for. */
export function refuseNotYet(features: Readonly<Record<string, boolean>>): void {
  for (const [feature, asked] of Object.entries(features)) {
    if (asked) throw new AppError("FEATURE_DISABLED", `${feature} is not available on this server yet; leave it out`, { metadata: { feature } });
  }
}
