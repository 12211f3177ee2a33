import type { Channel } from '../intake/channel.ts';

/** A kind of notification that people can decide about, e.g. `marketing`. */
export interface CategoryPolicy {
  name?: string;
  description?: string;
  /** Nobody can opt out of it. */
  isMandatory?: boolean;
  /** False: only who opted in gets it. */
  defaultEnabled?: boolean;
  /** The channels that people can decide about; absent: all. */
  channels?: Channel[];
}
