import java.io.*;
import java.util.Properties;
import javax.mail.*;
import javax.mail.internet.*;

/** JavaMail puts the parts of a message into a multipart of its own and writes it anew. */
public class Regenerate {
    public static void main(String[] arguments) throws Exception {
        BufferedReader paths = new BufferedReader(new InputStreamReader(System.in));
        for (String path; (path = paths.readLine()) != null; ) {
            try (InputStream in = new FileInputStream(path)) {
                MimeMessage message = new MimeMessage(Session.getInstance(new Properties()), in) {
                    protected void updateMessageID() {}
                };
                if (message.getContent() instanceof Multipart) {
                    Multipart parts = (Multipart) message.getContent();
                    String subtype = new ContentType(message.getContentType()).getSubType();
                    MimeMultipart anew = new MimeMultipart(subtype);
                    for (int i = 0; i < parts.getCount(); i++) anew.addBodyPart(parts.getBodyPart(i));
                    message.setContent(anew);
                }
                message.saveChanges();
                try (OutputStream out = new FileOutputStream(path + ".out")) {
                    message.writeTo(out);
                }
            } catch (Exception error) {
                System.err.println(error);
            }
            System.out.println("done");
        }
    }
}
