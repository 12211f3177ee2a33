import { Initial } from './20261123000000-initial.ts';

/** Every migration, oldest first. The name is what the database remembers: never change one that has run. */
export const migrations = [{ name: '20261123000000-initial', class: Initial }];
