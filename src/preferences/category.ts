import type { Channel } from '../intake/channel.ts';

/** A category of notifications that people can opt in to or out of, e.g. `marketing`. */
export interface CategoryPolicy {
  name?: string;
  description?: string;
  /** True when people cannot opt out. */
  isMandatory?: boolean;
  /** False when only people who opted in receive it. Default: true. */
  defaultEnabled?: boolean;
  /** Channels for which people can choose; all when absent. */
  channels?: Channel[];
}
