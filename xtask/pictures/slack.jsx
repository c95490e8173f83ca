// Messages as Slack shows them, drawn by a library for Block Kit: `window.messages` holds what the router sent.

import '@fontsource/lato/400.css';
import '@fontsource/lato/700.css';
import '@fontsource/lato/900.css';
import 'slack-blocks-to-jsx/dist/style.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { Message } from 'slack-blocks-to-jsx';

// To Slack `verbatim` means that addresses are no links of themselves; the library would show the markup. And it takes the
// minutes of a time for an emoji, which Slack does not: hence another colon.
function drawn(blocks) {
  return JSON.parse(JSON.stringify(blocks), (key, value) => {
    if (key === 'verbatim') return undefined;
    return key === 'text' && typeof value === 'string' ? value.replace(/(\d\d):(\d\d):(\d\d)/g, '$1∶$2∶$3') : value;
  });
}

function Channel() {
  return window.messages.map(({ blocks }, index) => (
    <Message key={index} name="Tercel" logo={window.logo} time={new Date()} theme="light" blocks={drawn(blocks)} />
  ));
}

createRoot(document.getElementById('root')).render(<Channel />);
