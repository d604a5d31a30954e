package shop;

import org.apache.http.conn.ssl.NoopHostnameVerifier;

class Client {
    SSLContext context = SSLContext.getInstance("TLSv1");
    TrustManager all = new X509TrustManager() {
        public void checkClientTrusted(X509Certificate[] chain, String type) {}
        public void checkServerTrusted(X509Certificate[] chain, String type) throws CertificateException {
        }
    };
    Object verifier = NoopHostnameVerifier.INSTANCE;
    String url = "jdbc:postgresql://db.internal/shop?sslmode=disable";
}
