"""The man page, from the reference of the commands."""
import re
import time


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def inline(text):
    """A line of Markdown: code is bold, links are their texts."""
    text = escape(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text))
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fP", text)


def write(reference, path, version, epoch):
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    out = [f'.TH KEEL 1 "{date}" "keel {version}" "User Commands"', ".SH NAME", "keel \\- the backbone for machine learning in production",
           ".SH SYNOPSIS", ".B keel", ".I COMMAND", "[ARGUMENTS]", ".SH DESCRIPTION"]
    is_code = False
    for line in reference.read_text().splitlines():
        if line.startswith("```"):
            out.append(".fi" if is_code else ".nf")
            is_code = not is_code
        elif is_code:
            out.append(escape(line))
        elif line.startswith("## "):
            out.append(f'.SH "{escape(line[3:]).upper()}"')
        elif line.startswith(("# ", "<!--", "|---", "| | |")):
            continue
        elif row := re.match(r"\| (.*?) \| (.*) \|$", line):
            out += [".TP", inline(row.group(1)), inline(row.group(2))]
        elif line:
            out.append(inline(line))
        else:
            out.append(".PP")
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(out) + "\n")
