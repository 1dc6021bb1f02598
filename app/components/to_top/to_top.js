// Scrolls whatever scrolls around the component to its top when `data.view` is another than the last time.
let last = null;

export default function ({ data, parentElement }) {
  const changed = last !== null && last !== data.view;
  last = data.view;
  if (!changed) return;
  let node = parentElement.host ?? parentElement;
  for (; node; node = node.parentElement ?? node.getRootNode().host) node.scrollTop = 0;
}
