import java.io.*;
import java.security.MessageDigest;
import java.util.*;
import javax.mail.*;
import javax.mail.internet.*;

/** JavaMail, with its defaults. A path on each line of stdin, a list of files in JSON on stdout. */
public class JavaMail {
    public static void main(String[] arguments) throws Exception {
        Session session = Session.getInstance(new Properties());
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "US-ASCII");
        BufferedReader paths = new BufferedReader(new InputStreamReader(System.in));
        for (String path; (path = paths.readLine()) != null; ) {
            List<String> files = new ArrayList<>();
            try (InputStream in = new BufferedInputStream(new FileInputStream(path))) {
                leaves(new MimeMessage(session, in), files);
                out.println("[" + String.join(",", files) + "]");
            } catch (Exception error) {
                out.println("{\"error\":" + quoted(error.toString()) + "}");
            }
        }
    }

    static void leaves(Part part, List<String> files) throws Exception {
        if (part.isMimeType("multipart/*")) {
            Multipart parts = (Multipart) part.getContent();
            for (int i = 0; i < parts.getCount(); i++) leaves(parts.getBodyPart(i), files);
            return;
        }
        if (part.isMimeType("message/rfc822") && part.getContent() instanceof Message) {
            leaves((Part) part.getContent(), files);
            return;
        }
        String name = part.getFileName();
        if (name != null) try { name = MimeUtility.decodeText(name); } catch (UnsupportedEncodingException e) { }
        ByteArrayOutputStream octets = new ByteArrayOutputStream();
        part.getInputStream().transferTo(octets);
        files.add(file(part, name == null ? "" : name, octets.toByteArray()));
    }

    /** One leaf: "text" is what a reader shows as the message itself, "file" is what it offers to save. */
    static String file(Part part, String name, byte[] octets) throws Exception {
        boolean attached = Part.ATTACHMENT.equalsIgnoreCase(part.getDisposition());
        boolean text = (part.isMimeType("text/plain") || part.isMimeType("text/html")) && !attached && name.isEmpty();
        String content = new String(octets, "ISO-8859-1").replace("\r\n", "\n").replaceAll("[\r\n]+\\z", "");
        octets = content.getBytes("ISO-8859-1");
        String start = Base64.getEncoder().encodeToString(Arrays.copyOf(octets, Math.min(octets.length, 65536)));
        StringBuilder hash = new StringBuilder();
        for (byte octet : MessageDigest.getInstance("SHA-256").digest(octets)) hash.append(String.format("%02x", octet));
        return "[" + (text ? "\"text\"" : "\"file\"") + "," + quoted(name) + ",\"" + hash + "\"," + octets.length + ",\"" + start + "\"]";
    }

    static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c < ' ' || c > '~' || c == '"' || c == '\\') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }
}
