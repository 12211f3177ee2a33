import { Initial } from './20261123000000-initial.ts';
import { Delivery } from './20261125210000-delivery.ts';
import { People } from './20261125220000-people.ts';

/** Every migration, oldest first. The name is what the database remembers: never change one that has run. */
export const migrations = [
  { name: '20261123000000-initial', class: Initial },
  { name: '20261125210000-delivery', class: Delivery },
  { name: '20261125220000-people', class: People },
];
