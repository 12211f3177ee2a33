import { useState } from 'react';
import { describeToken } from './token.ts';

/** The field at the top right that holds the token of this browser tab. */
export function TokenField({ token, onChange }: { token: string; onChange: (token: string) => void }) {
  const [draft, setDraft] = useState(token);
  const [known, setKnown] = useState(token);
  // A token that came in through the address replaces what was being typed.
  if (known !== token) {
    setKnown(token);
    setDraft(token);
  }
  const description = describeToken(token);

  return (
    <form
      className="token"
      onSubmit={(event) => {
        event.preventDefault();
        onChange(draft);
      }}
    >
      <span id="token-description" className={description?.expired ? 'token-warning' : ''} role="status">
        {description?.text ?? 'Not signed in'}
      </span>
      <label htmlFor="token">Token</label>
      {/* Masked by style: as a password field, the browser would offer to save the token. */}
      <input
        id="token"
        value={draft}
        placeholder="Paste a JWT"
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        aria-describedby="token-description"
        onFocus={(event) => event.target.select()}
        onChange={(event) => setDraft(event.target.value)}
        onBlur={() => onChange(draft)}
        onPaste={(event) => {
          // Used at once: nothing else to press.
          event.preventDefault();
          onChange(event.clipboardData.getData('text'));
        }}
      />
      <button type="button" disabled={!draft} onClick={() => onChange('')}>
        Clear
      </button>
    </form>
  );
}
