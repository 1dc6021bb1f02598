// Writes the name, and focuses it and scrolls up when it is another than the last time.
const names = new WeakMap();

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector(".name");
  const last = names.get(place);
  names.set(place, data.name);
  place.textContent = data.name;
  if (last === undefined || last === data.name) return;
  place.focus({ preventScroll: true });
  let node = parentElement.host ?? parentElement;
  for (; node; node = node.parentElement ?? node.getRootNode().host) node.scrollTop = 0;
}
