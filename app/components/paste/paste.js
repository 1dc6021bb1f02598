// Sends what is pasted: the first picture or file of the clipboard, else its text.

const KEYS = "or press Ctrl+V (⌘V on a Mac) anywhere on this page";

export default function mount({ data, parentElement, setTriggerValue }) {
  const [button, note] = ["button", "p"].map((name) => parentElement.querySelector(name));
  const say = (text) => (note.textContent = text);
  if (!note.textContent) say(KEYS);

  const send = (blob) => {
    const reader = new FileReader();
    reader.onload = () => setTriggerValue("pasted", reader.result.split(",")[1] ?? "");
    reader.readAsDataURL(blob.slice(0, data.most));
    say(KEYS);
  };

  const onPaste = (event) => {
    if (event.target instanceof Element && event.target.closest("input, textarea")) return;
    const [file] = event.clipboardData.files;
    const text = event.clipboardData.getData("text/plain");
    if (!file && !text) return;
    event.preventDefault();
    send(file ?? new Blob([text]));
  };
  document.addEventListener("paste", onPaste);

  button.onclick = async () => {
    try {
      const [item] = await navigator.clipboard.read();
      const type = item.types.find((name) => name.startsWith("image/")) ?? "text/plain";
      send(await item.getType(type));
    } catch {
      say("Your browser keeps its clipboard from buttons: press Ctrl+V (⌘V on a Mac) instead.");
    }
  };
  return () => document.removeEventListener("paste", onPaste);
}
