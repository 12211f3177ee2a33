/** Every channel an event may name. Which of them can deliver is up to `channels/registry.ts`. */
export const CHANNELS = ['email', 'sms', 'push', 'in_app', 'webhook', 'zalo'] as const;

export type Channel = (typeof CHANNELS)[number];
