// Copies the address; where the browser forbids it (no https), selects it in a prompt instead.
export default function (component) {
  const button = component.parentElement.querySelector("button.copy");
  button.onclick = async () => {
    const address = window.location.href;
    try {
      await navigator.clipboard.writeText(address);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy link"; }, 1500);
    } catch {
      window.prompt("Copy this link:", address);
    }
  };
  return () => { button.onclick = null; };
}
