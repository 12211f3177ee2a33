import type { Channel } from '../intake/channel.ts';
import type { CreateProvider, Provider, ProviderContext } from './channel.ts';
import { smtpProvider } from './email-smtp.ts';
import { createHttpClient } from './http-client.ts';
import { fcmProvider } from './push-fcm.ts';
import { webPushProvider } from './push-webpush.ts';
import { smsHttpProvider } from './sms-http.ts';
import { twilioProvider } from './sms-twilio.ts';
import { webhookProvider } from './webhook.ts';
import { znsProvider } from './zalo-zns.ts';

/** All providers. The channel `in_app` has none: see `in-app.ts`. */
const PROVIDERS: CreateProvider[] = [
  smtpProvider,
  twilioProvider,
  smsHttpProvider,
  fcmProvider,
  webPushProvider,
  webhookProvider,
  znsProvider,
];

export type ProviderSchema = Pick<Provider, 'channel' | 'name' | 'configSchema'>;

/** Returns the configuration schemas of all providers. */
export async function providerSchemas(): Promise<ProviderSchema[]> {
  const http = createHttpClient([]);
  const inert = {
    readSecret: () => Promise.reject(new Error('secrets are not available here')),
    outboundAllow: [],
    mailThreads: 0,
    http,
  };
  const providers = PROVIDERS.map((create) => create(inert));
  const schemas = providers.map(({ channel, name, configSchema }) => ({ channel, name, configSchema }));
  await Promise.all([http, ...providers].map((part) => part.close()));
  return schemas;
}

export interface Providers {
  find(channel: Channel, name: string): Provider | undefined;
  close(): Promise<void>;
}

export function createProviders(context: Omit<ProviderContext, 'http'>): Providers {
  const http = createHttpClient(context.outboundAllow);
  const providers = PROVIDERS.map((create) => create({ ...context, http }));
  return {
    find: (channel, name) => providers.find((provider) => provider.channel === channel && provider.name === name),
    close: async () => {
      await Promise.all([http, ...providers].map((part) => part.close()));
    },
  };
}
