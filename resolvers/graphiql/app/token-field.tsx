import { useState } from 'react';
import { describeToken } from './token.ts';

/** Input field of the token, at the top right. */
export function TokenField({ token, onChange }: { token: string; onChange: (token: string) => void }) {
  const [draft, setDraft] = useState(token);
  const [known, setKnown] = useState(token);
  // A token from the URL replaces the text of the field.
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
      {/* Masked with CSS, because the browser would offer to save a password field. */}
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
          // Applied immediately, without a button.
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
